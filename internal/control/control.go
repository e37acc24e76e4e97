package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// ErrNobody says that nothing listens: no tree is mounted there.
var ErrNobody = errors.New("no chatfs is running there")

// maxRequest bounds what a client may send, in bytes.
const maxRequest = 64 << 10

// socketName is the socket's in the state directory.
const socketName = "control.sock"

// The operations.
const (
	OpStatus  = "status"  // one event with Status
	OpSync    = "sync"    // events with Line until the queue is at rest; with Retry, failed uploads start again
	OpBackup  = "backup"  // events with Data: the index's copy
	OpHistory = "history" // one event with Status: the versions of Path; with Restore, that one is brought back
	OpUmount  = "umount"  // events with Line until the process is about to end
)

// A Request is what a client asks.
type Request struct {
	Op      string `json:"op"`
	Retry   bool   `json:"retry,omitempty"`
	Path    string `json:"path,omitempty"`    // in the tree: "/a/b"
	Restore int    `json:"restore,omitempty"` // which of Path's versions; 1 is the newest
}

// An Event is a part of the answer.
type Event struct {
	Line   string          `json:"line,omitempty"`   // progress, for a person
	Status json.RawMessage `json:"status,omitempty"` // the answer to OpStatus or OpHistory
	Data   []byte          `json:"data,omitempty"`   // a piece of the answer to OpBackup
	Error  string          `json:"error,omitempty"`  // why it failed; Code is set
	Code   int             `json:"code,omitempty"`   // the exit code that follows from it
	Done   bool            `json:"done,omitempty"`   // nothing follows
}

// address is the socket's as the kernel takes it. A path of more than 107
// bytes does not fit a socket address, one through the directory's
// descriptor always does; close ends the descriptor.
func address(stateDir string) (addr *net.UnixAddr, close func() error, err error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join("/proc/self/fd", fmt.Sprint(dir.Fd()), socketName)
	return &net.UnixAddr{Name: path, Net: "unix"}, dir.Close, nil
}
