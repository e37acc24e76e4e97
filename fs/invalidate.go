package fs

import (
	"path"
	"sync"

	"chatfs/index"
)

// An invalidator tells the kernel of changes that no request made, from one
// goroutine that holds no lock: a Notify from within an operation on the
// same inode never returns.
type invalidator struct {
	mu     sync.Mutex
	wake   *sync.Cond
	queue  []func()
	closed bool
	ended  chan struct{}
}

func newInvalidator() *invalidator {
	i := &invalidator{ended: make(chan struct{})}
	i.wake = sync.NewCond(&i.mu)
	go i.run()
	return i
}

func (i *invalidator) run() {
	defer close(i.ended)
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		for len(i.queue) == 0 && !i.closed {
			i.wake.Wait()
		}
		if i.closed {
			return
		}
		notify := i.queue[0]
		i.queue = i.queue[1:]
		i.mu.Unlock()
		notify()
		i.mu.Lock()
	}
}

// send queues a notification. After close it is dropped.
func (i *invalidator) send(notify func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed {
		i.queue = append(i.queue, notify)
		i.wake.Signal()
	}
}

// close ends the goroutine and waits for it.
func (i *invalidator) close() {
	i.mu.Lock()
	i.closed = true
	i.wake.Signal()
	i.mu.Unlock()
	<-i.ended
}

// changed makes a thumbnail that came or went visible: the kernel drops the
// listing and the absent name.
func (f *filesystem) changed(ino index.Ino) {
	if f.Thumbs == ThumbsOff {
		return
	}
	f.inval.send(func() {
		in, err := f.Index.Get(ino)
		if err != nil || !f.hasThumb(in) {
			return
		}
		if _, known := f.Index.ThumbSize(in.UUID); !known {
			return
		}
		paths, err := f.Index.Paths(ino)
		if err != nil {
			return
		}
		for _, p := range paths {
			f.notifyThumb(p)
		}
	})
}

// distrust has the kernel forget the pages of a file: each of its blocks was
// right and the whole was not, so that they may be wrong.
func (f *filesystem) distrust(ino index.Ino) {
	f.inval.send(func() {
		if paths, err := f.Index.Paths(ino); err == nil && len(paths) > 0 {
			f.notifyNames(paths[0])
		}
	})
}

func (f *filesystem) notifyThumb(picture string) {
	if n := f.dirOf(picture); n != nil {
		n.dropped.Add(1)
		n.NotifyContent(0, 0)
		n.NotifyEntry(path.Base(picture) + thumbSuffix)
	}
}
