package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestPromisesAreTested holds docs/semantics.md to its word: each item of its
// lists of promises names a test, and every test that is named is there.
func TestPromisesAreTested(t *testing.T) {
	doc, err := os.ReadFile("../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func Test[A-Za-z0-9_]+`, "..").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range untested(string(doc), string(out)) {
		t.Error(what)
	}
}

// untested tells what is wrong with a document of promises: items of the lists
// before its last chapter that name no test, and tests named anywhere that are
// none of funcs, a line "func TestX" each.
func untested(doc, funcs string) (wrong []string) {
	promises, _, found := strings.Cut(doc, "\n## What differs")
	if !found {
		wrong = append(wrong, "the document has lost a heading")
	}
	name := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	for _, item := range strings.Split(promises, "\n- ")[1:] {
		item, _, _ = strings.Cut(item, "\n\n")
		if !name.MatchString(item) {
			wrong = append(wrong, "no test for: "+item)
		}
	}
	for _, m := range name.FindAllStringSubmatch(doc, -1) {
		if !strings.Contains(funcs+"\n", "func "+m[1]+"\n") {
			wrong = append(wrong, m[1]+" is named and does not exist")
		}
	}
	return wrong
}

// TestEveryNameOfAPromiseIsLookedAt has documents that are wrong in one place.
func TestEveryNameOfAPromiseIsLookedAt(t *testing.T) {
	const funcs = "func TestA\nfunc TestBee"
	for doc, want := range map[string]string{
		"# P\n\n- One\n  (`TestA`, `TestBee`).\n- Two (`TestBee`).\n\n## What differs\n\n- None.\n": "",
		"# P\n\n- One (`TestA`, `TestB`).\n\n## What differs\n":                                     "TestB is named and does not exist",
		"# P `TestC`\n\n- One (`TestA`).\n\n## What differs\n":                                      "TestC is named and does not exist",
		"# P\n\n- One (`TestA`).\n\n## What differs\n\n- Two (`TestD`).\n":                          "TestD is named and does not exist",
		"# P\n\n- One (`TestA`).\n- Two.\n\nMore `TestA`.\n\n## What differs\n":                     "no test for: Two.",
		"# P\n\n- One (`TestA`).\n":                                                                 "the document has lost a heading",
	} {
		if got := strings.Join(untested(doc, funcs), "; "); got != want {
			t.Errorf("%q: %q, want %q", doc, got, want)
		}
	}
}
