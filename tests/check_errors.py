#!/usr/bin/env python3
"""Checks that each error that a public header promises is provoked by a test.

    check_errors.py [ROOT [--list]]

A header promises an error where the comment of a function names it, or says that it returns what another function does. A test
provokes it where one statement has both the call and the error, as in T_IS(filch_mutex_try_lock(&m), -EBUSY), or the next ones look at
the result. Where they stand further apart, in a helper and its caller, say, tests/ERRORS.md names the test: then its text, with the
functions of its file that it uses, has both. What cannot be provoked stands there, too, with its reason. --list prints who provokes what.
"""

import glob
import os
import re
import sys

DOC = re.compile(r"/\*\*(.*?)\*/\s*([^;{]*[;{])", re.S)
NAME = re.compile(r"\b(filch_(?!_)\w+)\s*\(")
CODE = re.compile(r"-(E[A-Z0-9]{2,})\b")
AS = re.compile(r"(?:Return:|Result:|errors:|else|[Oo]therwise|result is|`result`:|\breturns?\b)[^.]*?\bas (?:from |that of )?(filch_\w+)\(\)", re.S)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
FUNCTION = re.compile(r"^(?:Test\(\s*(\w+)\s*,\s*(\w+)[^\n]*\)|[a-z_][^\n;=#]*?\b(\w+)\([^;{]*\))\s*\n\{(.*?)^\}", re.S | re.M)
ROW = re.compile(r"^\| `(\w+)\(\)` \| `-(E\w+)`((?:, `-E\w+`)*) \| (.*?) \|$", re.M)
NAMED = re.compile(r"`((?:\w+/)?\w+\.c): (\w+)`")


def promised(root):
    """{function: {error}}, {function: header}"""
    own, like, where = {}, {}, {}
    for header in sorted(glob.glob(os.path.join(root, "include/filch/*.h"))):
        with open(header, encoding="utf-8") as file:
            text = file.read()
        for doc, declaration in DOC.findall(text):
            match = NAME.search(declaration)
            if not match or "FILCH_API" not in declaration and "static inline" not in declaration:
                continue
            name = match.group(1)
            doc = re.sub(r"\n\s*\*", " ", doc)
            where[name] = os.path.relpath(header, root)
            own[name] = set(CODE.findall(doc))
            like[name] = set(AS.findall(doc)) - {name}
    done = False
    while not done:
        done = True
        for name, others in like.items():
            for other in others & own.keys():
                if not own[other] <= own[name]:
                    own[name] |= own[other]
                    done = False
    return own, where, like


class Tests:
    def __init__(self, root):
        self.bodies = {}  # file: {function or test: text}
        self.cases = {}  # file: [test]
        self.direct = {}  # (function, error): "file: test"
        for path in sorted(glob.glob(os.path.join(root, "tests/*/*.c"))):
            name = os.path.relpath(path, os.path.join(root, "tests"))
            name = name[len("unit/"):] if name.startswith("unit/") else name
            with open(path, encoding="utf-8") as file:
                text = COMMENT.sub(" ", file.read())
            self.read(name, text)

    def read(self, name, text):
        bodies = self.bodies[name] = {}
        self.cases[name] = []
        for match in FUNCTION.finditer(text):
            function = match.group(2) or match.group(3)
            if match.group(2):
                self.cases[name].append(function)
            bodies[function] = match.group(4)
        for function, body in bodies.items():
            self.look(f"{name}: {function}", re.split(r"[;{}]", body))

    def look(self, where, statements):
        """A call and an error in one statement; or a call, and then one that speaks of an error and calls nothing of ours."""
        for i, statement in enumerate(statements):
            calls = NAME.findall(statement)
            following = [statement]
            for later in statements[i + 1:i + 4]:
                if NAME.search(later):
                    break
                following.append(later)
            for code in {code for part in following if "||" not in part for code in CODE.findall(part)}:
                for called in calls:
                    self.direct.setdefault((called, code), where)

    def closure(self, name, case):
        """The text of a test and of what it uses in its file."""
        bodies = self.bodies[name]
        seen, todo = set(), [case]
        while todo:
            function = todo.pop()
            if function in seen:
                continue
            seen.add(function)
            todo += set(re.findall(r"\w+", bodies[function])) & bodies.keys()
        return "\n".join(bodies[function] for function in seen)


def table(root):
    """{(function, error): what}"""
    with open(os.path.join(root, "tests/ERRORS.md"), encoding="utf-8") as file:
        text = file.read()
    rows = {}
    for name, first, more, what in ROW.findall(text):
        for code in [first] + CODE.findall(more):
            rows[name, code] = what
    return rows


def check_row(tests, pair, what):
    """Return: what is wrong with it, or None."""
    named = NAMED.search(what)
    if not named:
        return None if len(what.split()) > 3 else "neither a test nor a reason"
    name, case = named.groups()
    if case not in tests.bodies.get(name, {}):
        return f"there is no {name}: {case}"
    text = tests.closure(name, case)
    if not re.search(rf"\b{pair[0]}\b", text):
        return f"{name}: {case} does not use {pair[0]}"
    if not re.search(rf"-{pair[1]}\b", text):
        return f"{name}: {case} does not know -{pair[1]}"
    return None


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    promises, where, like = promised(root)
    tests = Tests(root)
    rows = table(root)
    pairs = sorted((where[name], name, code) for name, codes in promises.items() for code in codes)
    problems = []
    for header, name, code in pairs:
        pair = (name, code)
        direct = tests.direct.get(pair)
        if pair in rows:
            wrong = check_row(tests, pair, rows[pair])
            if direct and not wrong and NAMED.search(rows[pair]):
                wrong = f"its row is not needed: {direct}"
            if wrong:
                problems.append(f"tests/ERRORS.md: {name} -{code}: {wrong}")
        elif not direct:
            problems.append(f"{header}: {name}() -{code}: no test provokes it")
        if "--list" in sys.argv:
            print(f"{name} -{code}: {rows.get(pair) or direct}")
    for name, code in sorted(rows.keys() - {(name, code) for _, name, code in pairs}):
        problems.append(f"tests/ERRORS.md: {name} -{code}: no header promises it")
    for problem in problems:
        print(problem)
    print(f"{len(pairs)} errors of {len(promises)} functions, {len(rows)} of them in tests/ERRORS.md, {len(problems)} problems")
    return 1 if problems or not pairs else 0


if __name__ == "__main__":
    sys.exit(main())
