// Package fusetest guards tests that mount: a test that leaves a mount, a
// goroutine or a file descriptor behind fails.
//
// Limitations: the guard looks at the whole process, so guarded tests do not
// run in parallel with each other.
package fusetest
