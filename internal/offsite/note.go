package offsite

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
)

// found remembers what was there already: the last shipper was killed before it noted that.
func (s *Shipper) found(l archive.State) {
	at := s.state.At
	s.note(l)
	s.state.At = at
	s.tell()
}

// note remembers what was sent.
func (s *Shipper) note(l archive.State) {
	if s.state.Error != "" {
		s.Log.Info("the binary logs are shipped again", "instance", s.Instance)
	}
	s.silent.Reset(silence)
	s.sent, s.told = time.Now(), ""
	s.state = State{Repository: s.store.ID(), Archive: s.archive, Seq: l.Seq, File: l.Name, Offset: l.Size, Time: l.Last, At: s.sent.UTC()}
	s.tell()
}

// listen begins a round: a store that hangs is told of. A file system that is gone lets nobody go, so that there is no fault. What it returns ends
// the round, and tells whether that was said.
func (s *Shipper) listen() func() bool {
	began := time.Now().UTC()
	over, said := false, false
	s.noted = s.state
	s.silent = time.AfterFunc(silence, func() {
		s.noting.Lock()
		defer s.noting.Unlock()
		if over {
			return
		}
		said = true
		state := s.noted
		if state.Error == "" {
			state.Since = began
		}
		state.Error = fmt.Sprintf("the repository has not answered since %s", began.Format(time.RFC3339))
		_ = state.write(s.Dir)
	})
	return func() bool {
		s.silent.Stop()
		s.noting.Lock()
		defer s.noting.Unlock()
		over = true
		return said
	}
}

// answered takes back what was said of a fault or of silence.
func (s *Shipper) answered() {
	if s.state.Error != "" {
		s.Log.Info("the repository answers again", "instance", s.Instance)
	}
	s.told = ""
	s.state.Error, s.state.Since, s.state.Retry = "", time.Time{}, time.Time{}
	s.tell()
}

// fault notes why nothing is sent, and tells it once.
func (s *Shipper) fault(err error, pause time.Duration) {
	now := time.Now().UTC()
	if s.state.Error == "" {
		s.state.Since = now
	}
	s.state.Error, s.state.Retry = err.Error(), now.Add(pause)
	if s.told != err.Error() {
		s.Log.Warn("the binary logs cannot be shipped; archiving goes on, and it is tried again: "+err.Error(), "instance", s.Instance)
		s.told = err.Error()
	}
	s.tell()
}

func (s *Shipper) tell() {
	s.noting.Lock()
	defer s.noting.Unlock()
	s.noted = s.state
	if err := s.state.write(s.Dir); err != nil {
		s.Log.Debug("how far the binary logs are shipped cannot be noted: "+err.Error(), "instance", s.Instance)
	}
}
