package cli

import "sync"

// A lineFeed hands lines to all who listen. Who is slow misses some.
type lineFeed struct {
	mu        sync.Mutex
	listeners map[chan string]bool
}

func (f *lineFeed) publish(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.listeners {
		select {
		case l <- line:
		default:
		}
	}
}

// listen answers the lines from now on, until stop.
func (f *lineFeed) listen() (lines <-chan string, stop func()) {
	l := make(chan string, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listeners == nil {
		f.listeners = make(map[chan string]bool)
	}
	f.listeners[l] = true
	return l, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, l)
	}
}
