package pitr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/holdstill/holdstill/internal/binlog"
)

// Directory lists the binary logs of a server from its own files: index is the file that lists them, or the directory that holds exactly one
// such file. The server may be running.
func Directory(index, server string) (Logs, error) {
	out := Logs{From: index}
	now := time.Now()
	if info, err := os.Stat(index); err != nil {
		return out, fmt.Errorf("cannot read binary logs: %w", err)
	} else if info.IsDir() {
		if index, err = onlyIndex(index); err != nil {
			return out, err
		}
	}
	list, err := os.ReadFile(index)
	if err != nil {
		return out, fmt.Errorf("cannot read the list of binary logs: %w", err)
	}
	lines := slices.DeleteFunc(strings.Split(string(list), "\n"), func(line string) bool { return line == "" }) // a path may hold spaces
	for i, line := range lines {
		path := line
		if !filepath.IsAbs(path) || !exists(path) {
			path = filepath.Join(filepath.Dir(index), filepath.Base(line)) // relative to the data directory, or moved with the index
		}
		l, err := listedLog(path, server, i == len(lines)-1)
		if err != nil {
			return out, fmt.Errorf("cannot read the binary log %s: %w", line, err)
		}
		out.All = append(out.All, l)
	}
	if n := len(out.All); n > 0 && openElsewhere(out.All[n-1].Path) {
		out.Until = now.Add(-time.Second) // a server writes there: what was committed then is in the files by now
	}
	return out, nil
}

var errEncrypted = errors.New("it is encrypted: take the logs from the archive, or fetch them with the server's own client")

// encrypted tells whether the server encrypts the file: MySQL's has another magic number, MariaDB's an event behind the format description.
func encrypted(f io.ReaderAt) bool {
	first := make([]byte, int(binlog.Start)+replication.EventHeaderSize)
	if _, err := f.ReadAt(first, 0); err != nil {
		return false
	}
	second := make([]byte, replication.EventHeaderSize)
	_, err := f.ReadAt(second, binlog.Start+int64(binary.LittleEndian.Uint32(first[int(binlog.Start)+9:])))
	return first[0] == 0xfd || err == nil && replication.EventType(second[4]) == replication.MARIADB_START_ENCRYPTION_EVENT
}

// listedLog looks at a file. Only the last may end with a part of an event, which a server is writing.
func listedLog(path, server string, last bool) (Log, error) {
	f, err := os.Open(path)
	if err != nil {
		return Log{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Log{}, err
	}
	if encrypted(f) {
		return Log{}, errEncrypted
	}
	size := info.Size()
	if last {
		if size, err = wholeEvents(f, size); err != nil {
			return Log{}, err
		}
	}
	return Log{Server: server, Name: filepath.Base(path), Path: path, Size: size, Last: info.ModTime()}, nil
}

// openElsewhere tells whether another process has a file open: a server has that which it writes to.
func openElsewhere(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	open, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(open, func(fd string) bool {
		target, err := os.Readlink(fd)
		return err == nil && target == real && !strings.HasPrefix(fd, fmt.Sprintf("/proc/%d/", os.Getpid()))
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// onlyIndex finds the list of binary logs in a directory. Relay logs have one, too.
func onlyIndex(dir string) (string, error) {
	names, err := fs.Glob(os.DirFS(dir), "*.index")
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if content, err := os.ReadFile(path); err == nil && !strings.Contains(name, "relay") && len(content) > 0 {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("there are %d lists of binary logs (*.index) in %s: name one", len(found), dir)
	}
	return found[0], nil
}

// wholeEvents is the length of the part of a file that ends with a whole event.
func wholeEvents(f io.ReaderAt, size int64) (int64, error) {
	header := make([]byte, replication.EventHeaderSize)
	for at := binlog.Start; ; {
		_, err := f.ReadAt(header, at)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
		length := int64(binary.LittleEndian.Uint32(header[9:]))
		if length < replication.EventHeaderSize || at+length > size {
			return at, nil
		}
		at += length
	}
}
