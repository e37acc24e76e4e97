package e2e

import "testing"

// TestArchiversReadThumbnails has programs make a file in a folder and read
// all others there, thumbnails too.
func TestArchiversReadThumbnails(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.makeAlbum()
	for what, script := range map[string]string{
		"zip":  `cd "$D"/zip; zip -q all.zip *; mkdir ~/zip-out; unzip -q all.zip -d ~/zip-out; rm all.zip; diff -r . ~/zip-out`,
		"gzip": `cd "$D"/gzip; before=$(ls | wc -l); gzip -k *; test $(ls *.gz | wc -l) = $before; for f in *.gz; do case $f in *.thumb.gz|*.jpg.gz|*.png.gz) gzip -dc "$f" | cmp - "${f%.gz}";; esac; done`,
		"cpio": `cd "$D"/cpio; ls >~/names; cpio --quiet -o -O x.cpio <~/names; mkdir ~/cpio-out; (cd ~/cpio-out; cpio --quiet -i <"$D"/cpio/x.cpio); rm x.cpio; diff -r . ~/cpio-out`,
		"python": `cd "$D"/python; python3 -c "
import os, shutil
names = sorted(os.listdir('.'))
assert len(names) == 6, names
for name in names:
    shutil.copyfile(name, 'copy-' + name)
for name in names:
    assert open(name, 'rb').read() == open('copy-' + name, 'rb').read(), name
"`,
	} {
		s.album(what)
		s.quiet(what, script)
	}
}
