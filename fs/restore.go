package fs

import (
	"context"
	"path"
	"syscall"

	"chatfs/index"
)

// Restore makes a version of the history the content of its path again, for
// all who have the file open too, and tells the kernel. EBUSY means that
// somebody writes to the file, or that its present content is not at the
// service; the other errors are index.Restore's.
func (s *Server) Restore(ctx context.Context, v index.Version) error {
	d, err := s.fs.Index.Resolve(v.Path)
	if err != nil || !d.Inode.IsRegular() {
		_, err = s.fs.Index.Restore(v)
	} else {
		err = s.fs.restoreInto(ctx, d.Inode, v)
	}
	if err != nil {
		return err
	}
	return s.fs.tellOf(ctx, v.Path)
}

// restoreInto gives a file that is there an older version's content.
func (f *filesystem) restoreInto(ctx context.Context, in index.Inode, v index.Version) error {
	h := f.acquire(in.Ino, true)
	defer h.close()
	if err := h.begin(ctx, 0); err != nil {
		return err
	}
	defer h.of.give()
	if h.of.isDirty() {
		return syscall.EBUSY
	}
	if h.of.backing != nil {
		return h.overwrite(ctx, v)
	}
	if _, err := f.Index.Restore(v); err != nil {
		return err
	}
	h.of.tookEntity()
	return nil
}

// overwrite writes a version's content into a file that the kernel reads by
// itself: what its readers have open is that one file. The caller has the turn.
func (h *handle) overwrite(ctx context.Context, v index.Version) error {
	of := h.of
	e, err := of.fs.Index.Entity(v.UUID)
	if err != nil {
		return err
	}
	src, err := of.fs.Transfer.Open(ctx, e)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := src.WaitWhole(ctx); err != nil {
		return err
	}
	if err := h.resize(ctx, 0); err != nil {
		return err
	}
	file, err := of.writable(ctx, of.fs.MaxSize)
	if err == nil {
		err = of.fs.copyN(ctx, file, src, e.Size)
	}
	if err != nil {
		return err
	}
	of.changed(e.Size)
	of.mu.Lock()
	of.mtime = v.Mtime
	of.mu.Unlock()
	return of.commit()
}

// tellOf has the kernel forget what it knows of a path, and returns once it
// has.
func (f *filesystem) tellOf(ctx context.Context, file string) error {
	done := make(chan struct{})
	f.inval.send(func() {
		defer close(done)
		f.notifyPath(file)
		f.notifyNames(file)
	})
	select {
	case <-done:
	case <-f.inval.ended: // unmounted: nobody to tell
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// notifyPath tells of a name and of those of the directories above, which may
// be new too, and of their listings.
func (f *filesystem) notifyPath(file string) {
	for name := file; name != "/"; name = path.Dir(name) {
		n := f.dirOf(name)
		if n == nil {
			continue
		}
		if n.GetChild(path.Base(name)) == nil {
			n.NotifyEntry(path.Base(name))
		}
		n.NotifyContent(0, 0)
	}
}

// notifyNames tells of the content and the thumbnails of a file, by whatever
// name the kernel knows it.
func (f *filesystem) notifyNames(file string) {
	d, err := f.Index.Resolve(file)
	if err != nil {
		return
	}
	names, err := f.Index.Paths(d.Inode.Ino)
	if err != nil {
		return
	}
	for _, name := range names {
		if n := f.dirOf(name); n != nil {
			if child := n.GetChild(path.Base(name)); child != nil {
				child.NotifyContent(0, 0)
			}
		}
		f.notifyThumb(name)
	}
}

// dirOf is the node of the directory that a path's name is in; nil if the
// kernel does not know it.
func (f *filesystem) dirOf(name string) *node {
	dir, err := f.Index.Resolve(path.Dir(name))
	if err != nil {
		return nil
	}
	return f.dirs.get(dir.Inode.Ino)
}
