package load

import (
	"fmt"
	"log/slog"
	"syscall"

	"github.com/dustin/go-humanize"
)

// warnOfRoom tells before the load that it may fill the disk. It is no refusal: how much room rows take is the server's matter, and a load that
// stops there goes on when there is room.
func (p *plan) warnOfRoom(datadir string, log *slog.Logger) {
	var text int64
	for _, t := range p.tables {
		text += t.text
	}
	var fs syscall.Statfs_t
	if datadir == "" || syscall.Statfs(datadir, &fs) != nil {
		return
	}
	if free := fs.Bavail * uint64(fs.Bsize); uint64(text) > free {
		log.Warn(fmt.Sprintf("The dump has %s of SQL, and there are %s free in %s: the load may fill it", humanize.IBytes(uint64(text)), humanize.IBytes(free), datadir))
	}
}
