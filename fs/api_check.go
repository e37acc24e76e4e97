package fs

import gofs "github.com/hanwen/go-fuse/v2/fs"

// Every operation is implemented, if only to refuse it: go-fuse's defaults
// report success for what was never done.
var (
	_ interface {
		gofs.NodeAccesser
		gofs.NodeAllocater
		gofs.NodeCopyFileRanger
		gofs.NodeCreater
		gofs.NodeFlusher
		gofs.NodeFsyncer
		gofs.NodeGetattrer
		gofs.NodeGetxattrer
		gofs.NodeIoctler
		gofs.NodeLinker
		gofs.NodeListxattrer
		gofs.NodeLookuper
		gofs.NodeLseeker
		gofs.NodeMkdirer
		gofs.NodeMknoder
		gofs.NodeOnForgetter
		gofs.NodeOpendirHandler
		gofs.NodeOpener
		gofs.NodeReadlinker
		gofs.NodeReleaser
		gofs.NodeRemovexattrer
		gofs.NodeRenamer
		gofs.NodeRmdirer
		gofs.NodeSetattrer
		gofs.NodeSetxattrer
		gofs.NodeStatfser
		gofs.NodeSymlinker
		gofs.NodeTmpfiler
		gofs.NodeUnlinker
	} = (*node)(nil)

	_ interface {
		gofs.FileReader
		gofs.FileWriter
	} = (*handle)(nil)

	_ interface {
		gofs.FileFsyncdirer
		gofs.FileLookuper
		gofs.FileReaddirenter
		gofs.FileReleasedirer
		gofs.FileSeekdirer
	} = (*dirHandle)(nil)

	_ interface {
		gofs.NodeAccesser
		gofs.NodeGetattrer
		gofs.NodeGetxattrer
		gofs.NodeListxattrer
		gofs.NodeOpener
		gofs.NodeRemovexattrer
		gofs.NodeSetattrer
		gofs.NodeSetxattrer
	} = (*thumbNode)(nil)

	_ interface {
		gofs.NodeGetattrer
		gofs.NodeGetxattrer
		gofs.NodeListxattrer
		gofs.NodeOpener
		gofs.NodeRemovexattrer
		gofs.NodeSetattrer
		gofs.NodeSetxattrer
	} = (*tombstoneNode)(nil)
)
