package hookfiles

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// thing is what lies at a path.
type thing struct {
	Kind   string `json:"kind"` // absent, file, link, directory, other
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"` // of a link
	Mode   string `json:"mode,omitempty"`   // octal, with setuid and its like
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
}

const (
	absent    = "absent"
	isFile    = "file"
	isLink    = "link"
	directory = "directory"
	other     = "other"
)

// look tells what lies at a real path, and the content of a file.
func look(path string) (thing, []byte, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return thing{Kind: absent}, nil, nil
	}
	if err != nil {
		return thing{}, nil, err
	}
	t := thing{Kind: other}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		t.UID, t.GID, t.Mode = int(st.Uid), int(st.Gid), octal(st.Mode&0o7777)
	}
	var content []byte
	switch info.Mode().Type() {
	case 0:
		t.Kind = isFile
		if content, err = os.ReadFile(path); err == nil {
			t.SHA256 = checksum(content)
		}
	case fs.ModeSymlink:
		t.Kind = isLink
		t.Target, err = os.Readlink(path)
	case fs.ModeDir:
		t.Kind = directory
	}
	return t, content, err
}

// same reports whether it is the same but for mode and owner.
func (t thing) same(as thing) bool {
	return t.Kind == as.Kind && t.SHA256 == as.SHA256 && t.Target == as.Target
}

// mode is what os.Chmod takes.
func (t thing) mode() fs.FileMode {
	bits, _ := strconv.ParseUint(t.Mode, 8, 32)
	mode := fs.FileMode(bits) & fs.ModePerm
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

func octal(bits uint32) string { return fmt.Sprintf("%04o", bits) }

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// info is what a personality may ask about an original that is no link.
func (t thing) info(path string) (fs.FileInfo, error) {
	if t.Kind == absent {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	return originalInfo{filepath.Base(path), t.mode()}, nil
}

type originalInfo struct {
	name string
	mode fs.FileMode
}

func (o originalInfo) Name() string       { return o.name }
func (o originalInfo) Size() int64        { return 0 }
func (o originalInfo) Mode() fs.FileMode  { return o.mode }
func (o originalInfo) ModTime() time.Time { return time.Time{} }
func (o originalInfo) IsDir() bool        { return false }
func (o originalInfo) Sys() any           { return nil }
