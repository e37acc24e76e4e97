// Package e2e runs the built command as a person would: with cp, rsync, git,
// kill -9 and a file manager. It holds tests alone.
package e2e
