package fs

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/transfer"
)

// A CloseMode is what close(2) promises (see docs/semantics.md).
type CloseMode string

// The close modes.
const (
	CloseQueued   CloseMode = "queued"   // name and bytes outlive the process
	CloseDurable  CloseMode = "durable"  // they outlive power loss
	CloseUploaded CloseMode = "uploaded" // the service has them
)

// A ThumbsMode is how thumbnails appear in the tree.
type ThumbsMode string

// The thumbnail modes.
const (
	ThumbsList   ThumbsMode = "list"   // listed beside their pictures
	ThumbsHidden ThumbsMode = "hidden" // reachable by name alone
	ThumbsOff    ThumbsMode = "off"    // not there
)

// Config is what a mount consists of. Index, Blobs and Transfer are
// required, and stay the caller's to close, after the Server has ended.
type Config struct {
	Index    *index.Index
	Blobs    *blob.Store
	Transfer *transfer.Transfer

	MaxSize     int64         // bytes a file may hold; 0 is entity.MaxSize
	Close       CloseMode     // "" is CloseQueued
	Thumbs      ThumbsMode    // "" is ThumbsList
	ReadTimeout time.Duration // bound of one wait for the network; 0 is 30 s

	Passthrough bool // let the kernel read cached files by itself, where it can
	ReadOnly    bool
	AllowOther  bool
	NoExec      bool
	UID, GID    *uint32 // shown as every file's owner, if set
	Umask       *uint32 // taken from every file's mode as shown, if set

	FsName string                   // what df and mount show; a ':' would make df call it remote
	URL    func(entity.UUID) string // an entity's address, for user.chatfs.url
	Debug  bool                     // log every FUSE request
	// Panicked is told of a panic in an operation, which the caller of that
	// operation sees as EIO. nil logs it with its stack.
	Panicked func(any)
	Log      *logrus.Entry
}

func (c *Config) defaults() {
	if c.MaxSize == 0 {
		c.MaxSize = entity.MaxSize
	}
	if c.Close == "" {
		c.Close = CloseQueued
	}
	if c.Thumbs == "" {
		c.Thumbs = ThumbsList
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	if c.URL == nil {
		c.URL = func(u entity.UUID) string { return u.String() }
	}
}

// filesystem is what all nodes of a mount share.
type filesystem struct {
	Config
	files      openTable
	dirs       dirTable
	places     places
	makers     makers
	tombstones tombstones
	late       lateCommits
	drops      dropper
	inval      *invalidator
	passes     atomic.Bool // the kernel reads cached files by itself
	// debugLog takes go-fuse's own lines; it has a goroutine, so it is closed.
	debugLog io.WriteCloser
}

func (f *filesystem) close() {
	f.late.close()
	f.files.closeAll()
	f.late.tries.Wait()
	f.forgetNameless()
	f.inval.close()
	f.debugLog.Close()
}

// A Server serves one mounted tree.
type Server struct {
	fs   *filesystem
	fuse *fuse.Server
	once sync.Once
}

// Kernel timeouts. The index is changed through this mount alone, so names
// and attributes stay true until we say otherwise. A name that is absent is
// asked for again sooner, since thumbnails appear by themselves.
var (
	entryTimeout    = time.Hour
	attrTimeout     = time.Hour
	negativeTimeout = time.Minute
)

// Mount mounts the tree at mountpoint and returns once it answers. Errors
// are those of mount(2) or fusermount3.
func Mount(mountpoint string, c Config) (*Server, error) {
	c.defaults()
	f := &filesystem{Config: c}
	f.files.open = make(map[index.Ino]*openFile)
	f.files.nameless = make(map[index.Ino]struct{})
	f.dirs.nodes = make(map[index.Ino]*node)
	f.late.ending = make(chan struct{})
	f.inval = newInvalidator()
	f.debugLog = debugLog{c.Log.WriterLevel(logrus.DebugLevel)}
	root := &node{fs: f, ino: index.Root}
	f.dirs.add(root)
	server, err := gofs.Mount(mountpoint, root, f.options())
	if err != nil {
		f.close()
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	f.probe(server)
	return &Server{fs: f, fuse: server}, nil
}

func (f *filesystem) options() *gofs.Options {
	logger := log.New(f.debugLog, "", 0)
	o := &gofs.Options{
		// EntryTimeout is set with each entry, as a thumbnail's is 0.
		AttrTimeout:     &attrTimeout,
		NegativeTimeout: &negativeTimeout,
		NullPermissions: true,
		RootStableAttr:  &gofs.StableAttr{Ino: uint64(index.Root), Gen: 1},
		// For tombstones: beyond the numbers of thumbnails.
		FirstAutomaticIno: thumbBit | 1<<62,
		Logger:            logger,
		MountOptions: fuse.MountOptions{
			Name:       "chatfs",
			FsName:     strings.ReplaceAll(f.FsName, ":", "/"),
			AllowOther: f.AllowOther,
			Options:    []string{"default_permissions", "nosuid", "nodev"},
			// Enough for 16 readers that each wait for the network.
			MaxBackground: 64,
			// Falls back to fusermount3 by itself.
			DirectMount: os.Geteuid() == 0,
			// Without it every write costs a GETXATTR for
			// security.capability; clearing setuid and setgid is ours then.
			ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2,
			// Content changes through this mount alone.
			ExplicitDataCacheControl: true,
			EnableSymlinkCaching:     true,
			Debug:                    f.Debug,
			Logger:                   logger,
			PanicHandler:             f.panicked,
		},
	}
	if f.ReadOnly {
		o.Options = append(o.Options, "ro")
	}
	if f.NoExec {
		o.Options = append(o.Options, "noexec")
	}
	return o
}

// Wait returns when the tree has been unmounted, by whomever.
func (s *Server) Wait() {
	s.fuse.Wait()
	s.once.Do(s.fs.close)
}

// Unmount unmounts the tree. While a file or directory of it is in use it
// fails with EBUSY.
func (s *Server) Unmount() error { return s.fuse.Unmount() }

// Changed tells that ino's content moved to the service or failed to: a
// thumbnail may have appeared.
func (s *Server) Changed(ino index.Ino) { s.fs.changed(ino) }
