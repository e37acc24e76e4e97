package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMountScriptRefusesSmallMachines: a 32-bit build fails in a module, with
// lines that tell a person nothing.
func TestMountScriptRefusesSmallMachines(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"386", "arm"} {
		cmd := exec.Command("../mount.sh", t.TempDir())
		cmd.Env = append(os.Environ(), "GOARCH="+arch)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "needs a 64-bit machine") {
			t.Errorf("%s: %v: %s", arch, err, out)
		}
	}
}
