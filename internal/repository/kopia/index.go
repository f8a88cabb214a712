package kopia

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/kopia/kopia/repo/object"
)

// index is kopia's indirect object (repo/object/indirect.go): the pieces of an object, in order and without gaps.
type index struct {
	Stream  string  `json:"stream"`
	Entries []piece `json:"entries"`
}

type piece struct {
	Start  int64     `json:"s,omitempty"`
	Length int64     `json:"l,omitempty"`
	Object object.ID `json:"o"`
}

// There is an entry for each page of a database, so the general way to read and write JSON shows. These are what it is made of.
const (
	indexHead = `{"stream":"kopia:indirect","entries":[`
	indexTail = `]}`
	startKey  = `"s":`
	lengthKey = `"l":`
	objectKey = `"o":"`
)

// indexOf writes what encoding/json would, so that an index that did not change is the content that it was.
func indexOf(pieces []piece) []byte {
	out := make([]byte, 0, len(indexHead)+len(indexTail)+80*len(pieces))
	out = append(out, indexHead...)
	for i, p := range pieces {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '{')
		if p.Start != 0 {
			out = append(strconv.AppendInt(append(out, startKey...), p.Start, 10), ',')
		}
		if p.Length != 0 {
			out = append(strconv.AppendInt(append(out, lengthKey...), p.Length, 10), ',')
		}
		out = append(p.Object.Append(append(out, objectKey...)), '"', '}')
	}
	return append(out, indexTail...)
}

// entries reads an index, whoever wrote it.
func entries(raw []byte) ([]piece, error) {
	if out, ours := (&scanner{raw}).entries(); ours {
		return out, nil
	}
	var ix index
	err := json.Unmarshal(raw, &ix)
	return ix.Entries, err
}

// scanner reads an index that is written exactly as we do.
type scanner struct{ left []byte }

func (s *scanner) entries() ([]piece, bool) {
	out := make([]piece, 0, len(s.left)/50)
	if !s.skip(indexHead) {
		return nil, false
	}
	for {
		p, ok := s.piece()
		if !ok {
			return nil, false
		}
		out = append(out, p)
		if s.skip(indexTail) {
			return out, len(s.left) == 0
		}
		if !s.skip(",") {
			return nil, false
		}
	}
}

func (s *scanner) piece() (p piece, ok bool) {
	if !s.skip("{") || s.skip(startKey) && !s.number(&p.Start) || !s.skip(lengthKey) || !s.number(&p.Length) || !s.skip(objectKey) {
		return p, false
	}
	end := bytes.IndexByte(s.left, '"')
	if end < 0 {
		return p, false
	}
	id, err := object.ParseID(string(s.left[:end]))
	p.Object, s.left = id, s.left[end+1:]
	return p, err == nil && s.skip("}")
}

func (s *scanner) skip(word string) bool {
	if len(s.left) < len(word) || string(s.left[:len(word)]) != word {
		return false
	}
	s.left = s.left[len(word):]
	return true
}

// number reads digits and the comma behind them.
func (s *scanner) number(to *int64) bool {
	end := bytes.IndexByte(s.left, ',')
	if end < 0 {
		return false
	}
	n, err := strconv.ParseInt(string(s.left[:end]), 10, 64)
	*to, s.left = n, s.left[end+1:]
	return err == nil
}
