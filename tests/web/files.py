"""See test_files.sh. Holds with and without built screens: without, index.html says so."""
import gzip
import http.client
import re
import unittest

from serve import Server


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def get(self, path, method="GET", **headers):
        conn = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        conn.request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})
        reply = conn.getresponse()
        body = reply.read()
        conn.close()
        return reply, body

    def test_every_page_is_the_document(self):
        _, document = self.get("/")
        self.assertIn(b"<!doctype html>", document)
        for path in ("/today", "/customers", "/customers/user_id%3Da%2Fb", "/explore?q=count", "/setup/", "/login"):
            reply, body = self.get(path)
            self.assertEqual((reply.status, body), (200, document), path)
            self.assertEqual(reply.getheader("Content-Type"), "text/html; charset=utf-8")

    def test_policy(self):
        for path in ("/", "/icon.svg") if self.built() else ("/",):
            reply, _ = self.get(path)
            policy = reply.getheader("Content-Security-Policy")
            self.assertIn("default-src 'none'", policy)
            self.assertIn("script-src 'self';", policy)
            self.assertNotIn("unsafe", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertEqual(reply.getheader("X-Content-Type-Options"), "nosniff")
            self.assertEqual(reply.getheader("Referrer-Policy"), "no-referrer")

    def test_condition(self):
        reply, body = self.get("/")
        tag = reply.getheader("ETag")
        self.assertEqual(reply.getheader("Cache-Control"), "no-cache")
        again, nothing = self.get("/today", If_None_Match=f'"other", {tag}')
        self.assertEqual((again.status, nothing, again.getheader("ETag")), (304, b"", tag))
        other, whole = self.get("/", If_None_Match='"other"')
        self.assertEqual((other.status, whole), (200, body))

    def test_head(self):
        reply, body = self.get("/", "HEAD")
        self.assertEqual((reply.status, body), (200, b""))

    def test_what_is_not_there(self):
        for path in ("/nothing", "/assets/", "/assets/none.js", "/assets/../index.html", "/index.html.gz",
                     "/assets/%2e%2e/icon.svg", "/assets/..%2findex.html"):
            reply, body = self.get(path)
            self.assertEqual(reply.status, 404, path)
            self.assertEqual(reply.getheader("Content-Type"), "application/problem+json")
        self.assertEqual(self.get("/today", "POST")[0].status, 405)

    def built(self):
        _, document = self.get("/")
        return b"/assets/" in document

    def test_codings(self):
        if not self.built():
            self.skipTest("the screens are not built")
        _, document = self.get("/")
        names = re.findall(rb'(?:src|href)="(/assets/[^"]+)"', document)
        self.assertGreaterEqual(len(names), 2)
        for name in map(bytes.decode, names):
            plain, content = self.get(name)
            self.assertEqual(plain.status, 200)
            self.assertIsNone(plain.getheader("Content-Encoding"))
            self.assertIn("immutable", plain.getheader("Cache-Control"))
            self.assertEqual(plain.getheader("Vary"), "Accept-Encoding")
            small, packed = self.get(name, Accept_Encoding="deflate, GZIP;q=0.8, br;q=0")
            self.assertEqual(small.getheader("Content-Encoding"), "gzip")
            self.assertEqual(gzip.decompress(packed), content)
            best, least = self.get(name, Accept_Encoding="gzip, br")
            self.assertEqual(best.getheader("Content-Encoding"), "br")
            self.assertLess(len(least), len(packed))
            tags = {r.getheader("ETag") for r in (plain, small, best)}
            self.assertEqual(len(tags), 3, "each coding is a representation of its own")


if __name__ == "__main__":
    unittest.main()
