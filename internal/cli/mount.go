package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"chatfs/fs"
	"chatfs/index"
	"chatfs/internal/transfer"
)

// mountOptions are the flags of chatfs mount.
type mountOptions struct {
	profile profileFlags
	service serviceFlags

	unrestricted bool
	close        choice
	thumbs       choice
	localOnly    []string
	uploads      int
	settle       time.Duration
	cacheSize    byteSize
	minFree      fraction
	prefetch     byteSize
	passthrough  choice
	readTimeout  time.Duration
	drainTimeout time.Duration
	retention    optionalSpan
	keep         choice
	history      span

	readOnly, allowOther, noExec bool
	uid, gid, umask              optionalID

	mkdir    bool
	daemon   bool
	logLevel choice
	debug    bool
}

func newMount() *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "mount DIR",
		Short: "Mount the files at a directory, until Ctrl-C or fusermount3 -u",
		Long: `Mount the files at DIR, an empty directory, and serve them in the foreground
until Ctrl-C, SIGTERM or fusermount3 -u DIR; then finish the uploads.

The service is --remote https://HOST/ORG/APP, with credentials from the
environment or the configuration file: CHATFS_TOKEN, or CHATFS_CLIENT_ID and
CHATFS_CLIENT_SECRET, or CHATFS_USERNAME and CHATFS_PASSWORD, or what chatfs
login stored. Without one, chatfs runs a service of its own in this process.`,
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error { return runMount(cmd, o, args[0]) },
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *mountOptions) register(f *pflag.FlagSet) {
	o.close = choice{string(fs.CloseQueued), []string{string(fs.CloseQueued), string(fs.CloseDurable), string(fs.CloseUploaded)}}
	o.thumbs = choice{string(fs.ThumbsList), []string{string(fs.ThumbsList), string(fs.ThumbsHidden), string(fs.ThumbsOff)}}
	o.keep = choice{string(transfer.KeepLocal), []string{string(transfer.KeepLocal), string(transfer.KeepRenew), string(transfer.KeepNone)}}
	o.history = span(30 * 24 * time.Hour)
	o.passthrough = choice{"auto", []string{"auto", "off"}}
	o.logLevel = choice{"info", []string{"debug", "info", "warning", "error"}}
	o.cacheSize, o.minFree, o.prefetch = 10<<30, 0.05, 64<<20
	o.umask.octal = true

	o.profile.register(f)
	o.service.register(f)
	f.BoolVar(&o.unrestricted, "unrestricted", false, "upload without a share-secret: whoever has a file's address can read it")
	f.Var(&o.close, "close", "what close(2) promises: safe from a crash, from power loss, or at the service")
	f.Var(&o.thumbs, "thumbs", "thumbnails beside pictures: listed, reachable by name alone, or none")
	f.StringArrayVar(&o.localOnly, "local-only", nil, "names (a `pattern` like *.tmp) that stay on this computer; may be repeated")
	f.IntVar(&o.uploads, "uploads", 16, "uploads at once")
	f.DurationVar(&o.settle, "settle", time.Second, "how long a file rests before its upload; up to a second less where more than 64 wait")
	f.Var(&o.cacheSize, "cache-size", "most that copies of the service's files take on the disk")
	f.Var(&o.minFree, "min-free", "share of the disk that copies leave free, and files that wait, up to 1 GiB of it")
	f.Var(&o.prefetch, "prefetch", "most that is fetched ahead of who reads a directory's files in order; 0 is nothing")
	f.Var(&o.passthrough, "passthrough", "let the kernel read files that are here by itself: where it can (as root), or not")
	f.DurationVar(&o.readTimeout, "read-timeout", 30*time.Second, "longest wait of a read for the network")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 30*time.Second, "longest wait for uploads at the end")
	f.Var(&o.retention, "retention", "how long the service keeps a file; 0 is for ever (default: 7d; the embedded service: 0)")
	f.Var(&o.keep, "keep", "what is done with a file before the service forgets it: keep its content here, renew it there, or nothing")
	f.Var(&o.history, "history", "how long overwritten and deleted files stay in the history; 0 is for ever")
	f.BoolVar(&o.readOnly, "read-only", false, "let nothing be changed")
	f.BoolVar(&o.allowOther, "allow-other", false, "let other users in, as far as modes allow")
	f.BoolVar(&o.noExec, "noexec", false, "let no file be executed")
	f.Var(&o.uid, "uid", "show this user as everything's owner")
	f.Var(&o.gid, "gid", "show this group as everything's group")
	f.Var(&o.umask, "umask", "take these bits from all modes shown")
	f.BoolVar(&o.mkdir, "mkdir", false, "make DIR if it does not exist")
	f.BoolVar(&o.daemon, "daemon", false, "return once the mount answers, and go on in the background")
	f.Var(&o.logLevel, "log-level", "what is logged")
	f.BoolVar(&o.debug, "debug", false, "log every request of the kernel (implies --log-level debug)")
}

// check refuses numbers that make no sense.
func (o *mountOptions) check() error {
	if o.uploads < 1 || o.uploads > 1024 {
		return fail(exitUsage, "--uploads %d: 1 to 1024", o.uploads)
	}
	durations := map[string]time.Duration{"settle": o.settle, "read-timeout": o.readTimeout, "drain-timeout": o.drainTimeout}
	for flag, d := range durations {
		if d < 0 {
			return fail(exitUsage, "--%s %s: not below zero", flag, d)
		}
	}
	if o.readTimeout == 0 {
		return fail(exitUsage, "--read-timeout 0: a read has to end some time; 24h is a long one")
	}
	return o.service.check()
}

func runMount(cmd *cobra.Command, o *mountOptions, dir string) error {
	outliveReaders()
	set, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	made, err := o.makeDir(dir, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	s, err := o.start(cmd, dir, set)
	switch {
	case err != nil && made:
		return errors.Join(err, os.Remove(dir))
	case err != nil:
		return err
	case s == nil: // it goes on in the background
		return nil
	}
	return s.serve(cmd.Context())
}

// start mounts the tree, in this process or in one in the background, of
// which there is no session here.
func (o *mountOptions) start(cmd *cobra.Command, dir string, set *settings) (*session, error) {
	if o.daemon && !isDaemon() {
		return nil, startDaemon(cmd, o, dir, set)
	}
	s, err := openSession(cmd, o, dir, set)
	if err != nil && isDaemon() {
		tellParent(readiness{Error: err.Error(), Code: exitCode(err)})
	}
	return s, err
}

// serviceRetention is how long services keep files, unless a contract says
// otherwise: their documents.
const serviceRetention = 7 * 24 * time.Hour

// keepsFor is how long the service keeps a file; 0 is for ever.
func (o *mountOptions) keepsFor() time.Duration {
	switch {
	case o.retention.value != nil:
		return time.Duration(*o.retention.value)
	case o.service.remote == "":
		return 0 // the embedded one
	}
	return serviceRetention
}

// makeDir makes the mount point, but none of its parents, if that is wanted,
// and tells whether it did.
func (o *mountOptions) makeDir(dir string, say io.Writer) (made bool, err error) {
	if !o.mkdir {
		return false, nil
	}
	err = os.Mkdir(dir, 0o755)
	switch {
	case errors.Is(err, os.ErrExist):
		return false, nil
	case err != nil:
		return false, fail(exitMountpoint, "mount point: %w", err)
	}
	fmt.Fprintf(say, "chatfs: made the directory %s\n", dir)
	return true, nil
}

// fsConfig is the tree's configuration.
func (s *session) fsConfig(o *mountOptions) fs.Config {
	return fs.Config{
		Index: s.index, Blobs: s.blobs, Transfer: s.transfer,
		Close: fs.CloseMode(o.close.value), Thumbs: fs.ThumbsMode(o.thumbs.value),
		ReadTimeout: o.readTimeout, Passthrough: o.passthrough.value == "auto",
		ReadOnly: o.readOnly, AllowOther: o.allowOther, NoExec: o.noExec,
		UID: o.uid.value, GID: o.gid.value, Umask: o.umask.value,
		FsName: fsName(s.service.name),
		URL:    s.service.client.URL,
		Debug:  o.debug,
		Log:    s.log.WithField("area", "fs"),
	}
}

// changed tells the tree that a content moved; before there is one, nobody
// needs to know.
func (s *session) changed(ino index.Ino) {
	if server := s.server.Load(); server != nil {
		server.Changed(ino)
	}
}
