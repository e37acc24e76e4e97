package fusetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Command gives the path of a chatfs to run: the one that CHATFS_TEST_COMMAND
// names, for who has no Go, else one that it builds in dir.
func Command(dir string, flags ...string) (string, error) {
	if path := os.Getenv("CHATFS_TEST_COMMAND"); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "chatfs")
	args := append([]string{"build", "-o", path}, flags...)
	if out, err := exec.Command("go", append(args, "chatfs")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
