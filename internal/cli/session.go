package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/control"
	"chatfs/internal/transfer"
)

// A session is one mounted tree with all that the process opened for it.
type session struct {
	options    *mountOptions
	stdout     io.Writer // that the tree is there
	out        io.Writer // all else that a person reads
	log        *logrus.Logger
	mountpoint string
	device     device        // of the tree, once it is mounted
	unmounted  chan struct{} // closed when no copy of the mount is left
	started    time.Time

	profile   *profile
	blobs     *blob.Store
	index     *index.Index
	service   *endpoint
	transfer  *transfer.Transfer
	localOnly func(name string) time.Duration
	server    atomic.Pointer[fs.Server]
	control   *control.Server

	stop    chan string   // asks serve to end, with the reason
	ending  atomic.Bool   // the tree is being unmounted, or is
	ended   chan struct{} // closed once outcome stands
	outcome error
	lines   lineFeed // progress of the end, for chatfs umount

	closers []func() error // in the order of opening
}

// openSession checks everything, opens everything and mounts. On an error
// nothing stays open or mounted.
func openSession(cmd *cobra.Command, o *mountOptions, dir string, set *settings) (_ *session, err error) {
	s := &session{options: o, stdout: cmd.OutOrStdout(), out: cmd.ErrOrStderr(), started: time.Now(),
		unmounted: make(chan struct{}), stop: make(chan string, 1), ended: make(chan struct{})}
	if o.debug {
		o.logLevel.value = "debug"
	}
	s.log = newLogger(s.out, o.logLevel.value)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.localOnly, err = localOnly(o.localOnly); err != nil {
		return nil, err
	}
	if err := checkFUSE(o.allowOther); err != nil {
		return nil, err
	}
	if s.mountpoint, err = prepareMountpoint(dir, s.out); err != nil {
		return nil, err
	}
	unix.Umask(0) // or modes at create are masked twice
	for _, open := range []func() error{
		func() error { return s.openProfile(set) },
		s.openLocal,
		func() error { return s.openService(cmd.Context(), set) },
		s.openTransfer,
		s.openBackups,
		s.mount,
		s.openControl,
	} {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// onClose has a part closed at the end, before those opened earlier.
func (s *session) onClose(f func() error) { s.closers = append(s.closers, f) }

// close closes what was opened, the last first.
func (s *session) close() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	return errors.Join(errs...)
}

// openProfile chooses the profile, takes its lock, and completes the
// service's address by what the profile is bound to.
func (s *session) openProfile(set *settings) error {
	p, err := s.options.chooseProfile(set)
	if err != nil {
		return err
	}
	if err := checkOutside(s.mountpoint, p.state, p.cache); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	s.profile = p
	s.onClose(p.close)
	s.onClose(s.closeControl) // so late that who asked to unmount hears the end
	return p.claim(s.mountpoint)
}

// chooseProfile is the profile that the flags mean. A profile that is bound
// to a service elsewhere names that service, if nothing else does.
func (o *mountOptions) chooseProfile(set *settings) (*profile, error) {
	if o.service.remote == "" { // of a command that has no --remote of its own
		o.service.remote, _ = set.value("remote").(string)
	}
	if err := o.service.choose(set, o.profile.name); err != nil {
		return nil, err
	}
	p, err := o.profile.resolve(o.service.remote)
	if err != nil {
		return nil, err
	}
	bound, err := p.boundTo()
	if err != nil {
		return nil, fail(exitProfile, "profile %s: %w", p.name, err)
	}
	if o.service.remote == "" && bound != embedded {
		o.service.remote = bound
		set.origins["remote"] = "profile " + p.name
		if o.service.doubtful, err = p.unconfirmed(); err != nil {
			return nil, fail(exitProfile, "profile %s: %w", p.name, err)
		}
	}
	return p, nil
}

// openLocal opens the bytes on the disk and the index.
func (s *session) openLocal() (err error) {
	s.blobs, err = blob.Open(blob.Options{StateDir: s.profile.state, CacheDir: s.profile.cache,
		CacheSize: max(int64(s.options.cacheSize), 1), MinFree: max(float64(s.options.minFree), 1e-9), // 0 would be the default
		Log: s.log.WithField("area", "blob")})
	if err != nil {
		return fmt.Errorf("profile %s: %w", s.profile.name, err)
	}
	s.onClose(s.blobs.Close)
	s.index, err = s.profile.openIndex(s.blobs, s.log, false)
	if err != nil {
		return err
	}
	s.onClose(s.index.Close)
	if r := s.index.Recovery(); r.Records > 0 || r.TornBytes > 0 || r.Orphans > 0 {
		s.log.Infof("recovered from an unclean end: %s", r)
	}
	return nil
}

// openService starts or reaches the service, proves the credentials, and
// binds the profile to it.
func (s *session) openService(ctx context.Context, set *settings) (err error) {
	s.service, err = s.options.openService(set, s.profile, s.log)
	if err != nil {
		return err
	}
	s.onClose(s.service.close)
	if err := s.bind(); err != nil {
		return err
	}
	warning, err := s.service.login(ctx)
	if warning != "" {
		fmt.Fprintf(s.out, "chatfs: warning: %s\n", warning)
	}
	return err
}

// openService makes the client of the service elsewhere, or starts the
// embedded one with the profile's data.
func (o *mountOptions) openService(set *settings, p *profile, log *logrus.Logger) (*endpoint, error) {
	o.service.patience = o.readTimeout
	if o.service.remote != "" {
		if o.service.doubtful != "" {
			return nil, fail(exitCredentials, "the names of profile %s came from a backup, which says that its files are at %s: no credentials go there until you name it: --remote %s",
				p.name, o.service.doubtful, o.service.doubtful)
		}
		return o.service.connect(set, log)
	}
	if err := noStrayCredentials(set); err != nil {
		return nil, err
	}
	return o.service.startEmbedded(p.state, log)
}

// noStrayCredentials refuses credentials without a service that they are
// for: the files would not go where the person believes.
func noStrayCredentials(set *settings) error {
	creds, err := pickCredentials(set.layers)
	if err == nil && creds.kind != "" {
		return fail(exitUsage, "%s has credentials (%s), but no service is given: add --remote https://HOST/ORG/APP", creds.origin, creds)
	}
	return err
}

func (s *session) bind() error {
	stats, err := s.index.Stats()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return s.profile.bind(s.service.name, stats.Inodes <= 1)
}

// openTransfer starts what moves the bytes.
func (s *session) openTransfer() error {
	o := s.options
	s.transfer = transfer.New(transfer.Config{Index: s.index, Blobs: s.blobs, Remote: s.service.client,
		Uploads: o.uploads, Settle: o.settle, Unrestricted: o.unrestricted, LocalOnly: s.localOnly,
		Retention: o.keepsFor(), Keep: transfer.KeepMode(o.keep.value), History: time.Duration(o.history),
		Thumbs: o.thumbs.value != string(fs.ThumbsOff), Prefetch: int64(o.prefetch), ReadTimeout: o.readTimeout, Changed: s.changed, Log: s.log.WithField("area", "transfer")})
	s.onClose(s.transfer.Close)
	if err := s.transfer.Start(); err != nil {
		return fmt.Errorf("uploads: %w", err)
	}
	return nil
}

// mount mounts the tree. It is unmounted by serve, or here if a later step
// fails.
func (s *session) mount() error {
	server, err := fs.Mount(s.mountpoint, s.fsConfig(s.options))
	if err != nil {
		return fail(exitFUSE, "%w", mountError(s.mountpoint, err))
	}
	s.server.Store(server)
	go func() { server.Wait(); close(s.unmounted) }() // ends with the mount
	m, err := mountAt(s.mountpoint)
	if m != nil {
		s.device = deviceOf(m)
	}
	s.onClose(s.takeDown)
	return err
}

// openControl answers chatfs status, sync and umount from now on.
func (s *session) openControl() (err error) {
	s.control, err = control.Listen(s.profile.state, s.answer)
	if err != nil {
		return err
	}
	forget, err := register(s.mountpoint, s.profile)
	if err != nil {
		return err
	}
	s.onClose(forget)
	return nil
}

// controlGrace is what requests have to end by themselves.
const controlGrace = 2 * time.Second

func (s *session) closeControl() error {
	close(s.ended)
	if s.control == nil {
		return nil
	}
	return s.control.Shutdown(controlGrace)
}

// newLogger writes to where the person reads.
func newLogger(out io.Writer, level string) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(raw(out)) // the formatter escapes, and colours
	if parsed, err := logrus.ParseLevel(level); err == nil {
		log.SetLevel(parsed)
	}
	if isTerminal(os.Stderr) {
		log.SetFormatter(plainFormatter{&logrus.TextFormatter{FullTimestamp: true}})
	} else {
		log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	}
	return log
}

// logPath is the log of a mount in the background.
func (p *profile) logPath() string { return filepath.Join(p.state, "chatfs.log") }
