package fs_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// TestRenewedFileIsWritten: a file that the kernel reads by itself, and whose
// content was renewed at the service under that reader, can be written.
func TestRenewedFileIsWritten(t *testing.T) {
	f := newFixture(t, func(c *fs.Config, x *transfer.Config) {
		c.Passthrough = true
		x.Keep, x.Retention = transfer.KeepRenew, 2*time.Second
	})
	f.write("f", pattern(1, 50_000))
	f.drain()
	reader, err := os.Open(f.path("f"))
	must(t, err)
	defer reader.Close()
	first := f.xattr("f", "uuid")
	fusetest.Eventually(t, "its renewal", func() error {
		if f.xattr("f", "uuid") == first {
			return fmt.Errorf("it is entity %s still", first)
		}
		return nil
	})
	writer, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
	must(t, err)
	_, err = writer.WriteAt([]byte("new"), 10)
	must(t, err)
	must(t, writer.Close())
	want := pattern(1, 50_000)
	copy(want[10:], "new")
	f.wantContent("f", want)
	got := make([]byte, 13)
	_, err = reader.ReadAt(got, 0)
	must(t, err)
	if string(got) != string(want[:13]) {
		t.Errorf("the reader sees %q", got)
	}
}
