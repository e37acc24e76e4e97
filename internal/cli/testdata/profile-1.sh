#!/bin/bash
# Makes profile-1.tar.gz, a whole profile of the embedded service whose process was
# killed: profile-1.sh CHATFS OUT.tar.gz, with a CHATFS built from the commit
# 6a27218. It needs ImageMagick and setfattr. The secrets in it are that
# service's, which is nowhere.
set -euo pipefail
chatfs=$(realpath "$1") out=$(realpath "$2")
work=$(mktemp -d)
trap 'fusermount3 -uzq "$work/files" || true; rm -rf "$work"' EXIT
cd "$work"
umask 022
mkdir files
mnt() { "$chatfs" mount --daemon --state-dir "$work/profile" "$@" files >/dev/null; }

# Uploaded: files, a picture with its thumbnail, names of all kinds, history.
mnt --settle 0s
echo hello >files/a.txt
mkdir -p files/dir/sub
echo below >files/dir/sub/b.txt
echo one >files/versions.txt
convert -size 480x360 plasma:red-blue -quality 60 files/photo.jpg
echo deleted >files/deleted.txt
echo renamed >files/old-name.txt
: >files/empty
printf 'nutze\n' >$'files/n\xc3\xbctzlich \xf0\x9f\x98\x80.txt'
"$chatfs" sync files 2>/dev/null
cat files/photo.jpg.thumb >thumb
echo two >files/versions.txt
"$chatfs" sync files 2>/dev/null
rm files/deleted.txt
mv files/old-name.txt files/dir/new-name.txt
ln files/a.txt files/dir/a-link.txt
ln -s ../../a.txt files/dir/sub/link
setfattr -n user.note -v 'an attribute' files/a.txt
chmod 640 files/dir/sub/b.txt
touch -d '2001-02-03T04:05:06.789Z' files/a.txt
"$chatfs" umount files 2>/dev/null

# Pinned: half of the time that the service keeps it is over.
mnt --settle 0s --retention 2s
echo pinned >files/pinned.txt
"$chatfs" sync files 2>/dev/null
uuid=$(getfattr --only-values -n user.chatfs.uuid files/pinned.txt)
until [ -e "profile/pinned/${uuid:0:2}/$uuid" ]; do sleep 0.1; done
"$chatfs" umount files 2>/dev/null

# Waiting for the upload, and a journal that nobody closed.
mnt --settle 1h
echo queued >files/queued.txt
echo 'three, not uploaded' >files/versions.txt
echo temporary >files/.x.swp
mkdir files/late
echo late >files/late/late.txt
mv files/late files/dir/late
setfattr -n user.late -v 'set late' files/dir/late/late.txt
sync files/queued.txt files/versions.txt files/.x.swp files/dir/late/late.txt files/dir/late files/dir files
kill -KILL "$(cut -d' ' -f1 profile/lock)"
fusermount3 -uzq files
ls profile/journal-* >/dev/null
rm -f profile/lock profile/control.sock profile/chatfs.log
tar --sort=name --owner=0 --group=0 --numeric-owner -C profile -cf - . | gzip -9n >"$out"
