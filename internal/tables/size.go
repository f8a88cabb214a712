package tables

import (
	"os"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// onDisk is how many bytes the files of a table take in the scratch server's data directory: what the servers tell of sizes comes from statistics,
// which may be of a time when the table was empty. 0 where its files are elsewhere, or have other names.
func onDisk(datadir string, n schema.Name) (bytes uint64) {
	dir, err := inside(datadir, n.Database)
	if err != nil {
		return 0
	}
	defer func() { _ = dir.Close() }()
	open, err := dir.Open(".")
	if err != nil {
		return 0
	}
	defer func() { _ = open.Close() }()
	names, _ := open.Readdirnames(-1)
	file := swap.Directory(n.Table)
	for _, name := range names {
		rest, its := strings.CutPrefix(name, file)
		if !its || !strings.HasPrefix(rest, ".") && !strings.HasPrefix(rest, "#") { // a partition's
			continue
		}
		if info, err := dir.Lstat(name); err == nil && info.Mode()&os.ModeType == 0 {
			bytes += uint64(info.Sys().(*syscall.Stat_t).Blocks) * 512
		}
	}
	return bytes
}
