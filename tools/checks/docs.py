"""Documents: links resolve, words are spelt."""
import re
import subprocess

from .repo import Problem, line_of

LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^()\s]+(?:\([^()]*\))?)(?:\s+\"[^\"]*\")?\)")


def anchors(text):
    """The anchors that GitHub gives a document's headings."""
    found, seen = set(), {}
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", text, re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def links(repo):
    problems = []
    for name in repo.find(r"\.md$"):
        text = re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", " ", m.group()), repo.text(name),
                      flags=re.DOTALL | re.MULTILINE)
        text = re.sub(r"`[^`\n]*`", lambda m: " " * len(m.group()), text)
        for match in LINK.finditer(text):
            target = match.group(1)
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (repo.root / name).parent / path if path else repo.root / name
            line = line_of(text, match.start())
            if path.startswith("/") or not file.exists():
                problems.append(Problem(name, line, f"link to {target}: no such file", target))
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
                problems.append(Problem(name, line, f"link to {target}: no such heading", target))
    return problems


def spelling(repo):
    names = [n for n in repo.find(r"\.(c|h|cc|y|re|def|md|py|sh|txt|cmake|toml)$|^(Makefile|tools/)")
             if not n.startswith(("tests/fuzz/corpus/", "tests/data/"))]
    if not names:
        return []
    done = subprocess.run(["codespell", "--ignore-words", "tools/checks/spelling.txt", *names],
                          cwd=repo.root, capture_output=True, text=True)
    return [Problem(*line.split(":", 2)[:2], line.split(":", 2)[2].strip(), line.split()[1])
            for line in done.stdout.splitlines() if line.count(":") >= 2]
