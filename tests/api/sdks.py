"""Real SDKs, given numbered events; whatever happens to the server meanwhile, every event is found
once. Run by test_sdks.sh in the folder of node_modules."""
import json
import os
import shutil
import subprocess
import time
import unittest

from serve import KEY, Server, keel

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support/sdk")
COUNT = 60


class Sdks(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.server.start()

    def tearDown(self):
        self.server.__exit__()

    def drive(self, script, *args, key=KEY):
        url = f"http://127.0.0.1:{self.server.port}"
        return subprocess.Popen(["node", f"{SCRIPTS}/{script}.mjs", args[0], url, key, str(COUNT), *args[1:]],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def listen(self, sdk, given=None):
        """Until the SDK was given so many events, or is done."""
        wanted = f"given {given}\n" if given else "done\n"
        for line in sdk.stdout:
            if line == wanted:
                return
        self.fail(f"the SDK ended with {sdk.wait()} before it said {wanted!r}")

    def found(self):
        events = [e for e in self.server.events() if e.get("event") == "Given"]
        return sorted(e["properties"]["id"] for e in events)

    def check(self):
        self.server.stop()
        self.assertEqual(self.found(), list(range(COUNT)))

    def finish(self, sdk):
        self.listen(sdk)
        sdk.communicate()
        self.assertEqual(sdk.returncode, 0)

    def trouble(self, sdk):
        """Killed in the middle; refuses connections for a while; comes back."""
        self.listen(sdk, 20)
        self.server.kill()
        self.listen(sdk, 40)
        time.sleep(0.5)
        self.server.start()

    # ---- Node ----

    def test_segment_node(self):
        sdk = self.drive("node", "segment")
        self.finish(sdk)
        self.check()

    def test_segment_node_trouble(self):
        sdk = self.drive("node", "segment")
        self.trouble(sdk)
        self.finish(sdk)
        self.check()

    def test_segment_node_limited(self):
        keel("source", "add", "slow", "--data", self.server.dir, "--key", "slow", "--rate", "20", "--burst", "10")
        self.finish(self.drive("node", "segment", key="slow"))
        self.check()

    def test_rudder_node(self):
        self.finish(self.drive("node", "rudder"))
        self.check()

    def test_rudder_node_trouble(self):
        sdk = self.drive("node", "rudder")
        self.trouble(sdk)
        self.finish(sdk)
        self.check()

    def test_rudder_node_limited(self):
        keel("source", "add", "slow", "--data", self.server.dir, "--key", "slow", "--rate", "20", "--burst", "10")
        self.finish(self.drive("node", "rudder", key="slow"))
        self.check()

    def test_jitsu(self):
        """It does not send again, so the server is killed when all has been answered."""
        self.finish(self.drive("node", "jitsu"))
        self.server.kill()
        self.server.start()
        self.check()

    # ---- Chromium ----

    def browse(self, mode, key=KEY, trouble=False):
        sdk = self.drive("browser", mode, shutil.which("chromium"), key=key)
        if trouble:
            self.trouble(sdk)
        self.listen(sdk)
        self.until_stored()
        sdk.communicate()
        self.assertEqual(sdk.returncode, 0)
        self.check()

    def until_stored(self):
        """The page is open until the server has all: asked over its socket."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = subprocess.run(
                ["curl", "-s", "--unix-socket", self.server.dir + "/keel.sock", "-d",
                 'count events of "Given"', "http://keel/api/v1/query"], capture_output=True, text=True).stdout
            if json.loads(answer or "{}").get("rows") == [[COUNT]]:
                return
            time.sleep(0.2)
        self.fail(f"not all events came: {answer}")

    def test_browser_single(self):
        self.browse("single")

    def test_browser_batched(self):
        self.browse("batched")

    def test_browser_single_trouble(self):
        self.browse("single", trouble=True)

    def test_browser_batched_trouble(self):
        self.browse("batched", trouble=True)

    def test_browser_limited(self):
        keel("source", "add", "slow", "--data", self.server.dir, "--key", "slow", "--rate", "20", "--burst", "10")
        self.browse("batched", key="slow")


if __name__ == "__main__":
    unittest.main(verbosity=2)
