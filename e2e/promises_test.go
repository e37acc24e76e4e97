package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestPromisesAreTested holds docs/semantics.md to its word: each item of its
// lists of promises names a test, and the test is there.
func TestPromisesAreTested(t *testing.T) {
	doc, err := os.ReadFile("../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	promises, _, found := strings.Cut(string(doc), "## What differs")
	if !found {
		t.Fatal("the document has lost a heading")
	}
	out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func Test[A-Za-z0-9_]+`, "..").Output()
	if err != nil {
		t.Fatal(err)
	}
	tests := string(out) + "\n"
	name := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	for _, item := range strings.Split(promises, "\n- ")[1:] {
		item, _, _ = strings.Cut(item, "\n\n")
		m := name.FindStringSubmatch(item)
		if m == nil {
			t.Errorf("no test for: %s", item)
		} else if !strings.Contains(tests, "func "+m[1]+"\n") {
			t.Errorf("%s does not exist, for: %s", m[1], item)
		}
	}
}
