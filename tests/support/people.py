"""People who signed in to a started server (serve.py), one of each role.

    class Test(Case):                 # self.server, self.root, self.people["it"]
        def test(self):
            status, headers, body = self.people["it"].ask("GET", "/api/v1/plan")
"""
import json
import os
import pwd
import re
import subprocess
import unittest

from serve import KEEL, Server

ROLES = ["marketing", "it", "executive", "privacy_officer", "partner", "admin"]
PASSWORD = "correct horse battery"
OS_USER = "os user " + pwd.getpwuid(os.getuid()).pw_name
QUERY = "/api/v1/query"


def run(*args, **more):
    return subprocess.run([KEEL, *args], capture_output=True, text=True, check=False, **more)


class Person:
    """A browser that signed in."""
    def __init__(self, server, **how):
        self.server = server
        status, headers, body = server.request("POST", "/api/v1/session", how)
        assert status == 200, body
        self.take(headers, body)

    def take(self, headers, body):
        self.cookie = headers["set-cookie"].split(";")[0]
        self.session = json.loads(body)

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.session["csrf"], **headers}
        return self.server.request(method, path, body, {k: v for k, v in headers.items() if v is not None})


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.link = re.search(r"http://127.0.0.1:\d+/setup#(\S+)", cls.server.said())[1]
        status, headers, body = cls.server.request("POST", "/api/v1/setup", {
            "token": cls.link, "login": "Root", "password": PASSWORD, "name": "Root"})
        assert status == 201, body
        cls.root = Person.__new__(Person)
        cls.root.server = cls.server
        cls.root.take(headers, body)
        cls.people = {}
        for role in ROLES:
            status, _, body = cls.root.ask("POST", "/api/v1/users", {"login": role, "role": role})
            assert status == 201, body
            cls.people[role] = cls.sign_in(role)
        with open(cls.server.dir + "/admin.token", encoding="ascii") as token:
            cls.token = {"Authorization": f"Bearer {token.read().strip()}"}

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.__exit__()

    @classmethod
    def sign_in(cls, login):
        _, _, body = cls.root.ask("POST", f"/api/v1/users/{login}/login-link")
        return Person(cls.server, token=json.loads(body)["token"])

    def records(self):
        with open(self.server.dir + "/audit.log", encoding="utf-8") as log:
            return [json.loads(line) for line in log]
