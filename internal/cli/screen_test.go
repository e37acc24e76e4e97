package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// hostile is a name of all that a terminal obeys.
const hostile = "a\x1b]0;title\x07\x1b[2J\r\nchatfs: all is sound\t\x9b\x7f\u009b31m\u202egnp.exe\u2066\u200f\u2028\U000e0041"

func TestPlainLeavesNothingThatActs(t *testing.T) {
	for in, want := range map[string]string{
		hostile: `a\x1b]0;title\x07\x1b[2J\x0d\x0achatfs: all is sound\x09\x9b\u007f\u009b31m\u202egnp.exe\u2066\u200f\u2028\udb40\udc41`,
		"nützlich 😀 👩‍👩‍👧 日本 \\n é": "nützlich 😀 👩‍👩‍👧 日本 \\n é",
		"": "",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

// TestScreenLeavesLinesAndJSON: only line ends and tabs pass, and JSON is JSON.
func TestScreenLeavesLinesAndJSON(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprintf(screen{&b}, "one\ttwo\n\x1b[31mthree\n")
	if got := b.String(); got != "one\ttwo\n\\x1b[31mthree\n" {
		t.Errorf("%q", got)
	}
	b.Reset()
	if err := json.NewEncoder(screen{&b}).Encode(hostile[:20] + "\u202e\U000e0041"); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back != hostile[:20]+"\u202e\U000e0041" {
		t.Errorf("%q is read as %q, %v", b.String(), back, err)
	}
}
