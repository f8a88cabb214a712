package archive

import (
	"bytes"
	"fmt"
	"io"
	"net"
)

// peer is a connection over a socket whose server may ask to know us by our uid (the plugins unix_socket of MariaDB and auth_socket of
// MySQL, as root usually is), which go-mysql does not know. The answer is an empty packet, so it is given here and the library sees none of it.
type peer struct {
	net.Conn
	greeted, over bool
	ready         []byte // of what was read for the library
}

func (p *peer) Read(b []byte) (int, error) {
	if len(p.ready) == 0 && p.over {
		return p.Conn.Read(b)
	}
	if len(p.ready) == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.ready)
	p.ready = p.ready[n:]
	return n, nil
}

// next reads a packet while we log in.
func (p *peer) next() error {
	packet, err := p.packet()
	if err != nil {
		return err
	}
	number := packet[3] // the library counts packets too
	for p.greeted && asksPeer(packet) {
		if _, err := p.Conn.Write([]byte{0, 0, 0, packet[3] + 1}); err != nil {
			return err
		}
		if packet, err = p.packet(); err != nil {
			return err
		}
	}
	if p.greeted {
		packet[3] = number
		p.over = len(packet) > 4 && (packet[4] == 0 || packet[4] == 0xff) // OK, or an error
	}
	p.greeted, p.ready = true, packet
	return nil
}

func (p *peer) packet() ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(p.Conn, head); err != nil {
		return nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size > 1<<16 {
		return nil, fmt.Errorf("a packet of %d bytes is no answer to a login", size)
	}
	packet := append(head, make([]byte, size)...)
	_, err := io.ReadFull(p.Conn, packet[4:])
	return packet, err
}

func asksPeer(packet []byte) bool {
	return len(packet) > 5 && packet[4] == 0xfe &&
		(bytes.HasPrefix(packet[5:], []byte("unix_socket\x00")) || bytes.HasPrefix(packet[5:], []byte("auth_socket\x00")))
}
