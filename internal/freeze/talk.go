package freeze

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Parent and guard talk in datagrams over a socketpair (SOCK_SEQPACKET): the parent sends one byte, the guard answers.
const (
	askFreeze = 'F'
	askThaw   = 'T'

	sayReady  = 'R' // everything is open and waits
	sayFailed = 'E' // not ready; the text says why
	sayFrozen = 'F' // or not, then errno is set
	sayThawed = 'T' // the guard's last word
)

// Why the guard thawed.
const (
	onCommand  = 'c'
	onDeadline = 'd'
	onOrphaned = 'o' // the parent is gone
	onFailure  = 'f' // a mount point could not be frozen, so the others were thawed
	byOthers   = 'x' // somebody else had thawed already
)

const replyHead = 24

// reply is what the guard says. Its moments are CLOCK_MONOTONIC in nanoseconds, the same for all processes.
type reply struct {
	kind   byte
	why    byte
	point  uint16
	errno  unix.Errno
	first  int64
	second int64
	text   string
}

func (r reply) encode(buf []byte) []byte {
	buf = buf[:replyHead]
	buf[0], buf[1] = r.kind, r.why
	binary.LittleEndian.PutUint16(buf[2:], r.point)
	binary.LittleEndian.PutUint32(buf[4:], uint32(r.errno))
	binary.LittleEndian.PutUint64(buf[8:], uint64(r.first))
	binary.LittleEndian.PutUint64(buf[16:], uint64(r.second))
	return append(buf, r.text...)
}

func decodeReply(buf []byte) (reply, bool) {
	if len(buf) < replyHead {
		return reply{}, false
	}
	return reply{
		kind: buf[0], why: buf[1],
		point:  binary.LittleEndian.Uint16(buf[2:]),
		errno:  unix.Errno(binary.LittleEndian.Uint32(buf[4:])),
		first:  int64(binary.LittleEndian.Uint64(buf[8:])),
		second: int64(binary.LittleEndian.Uint64(buf[16:])),
		text:   string(buf[replyHead:]),
	}, true
}

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// moment turns the guard's clock into a time of this process, with its monotonic reading.
func moment(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(monotonic() - nano))
}
