package archive

import (
	"slices"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// BenchmarkArchive measures the lag from the moment in which the server has a commit in its log to that in which the archive has it synced, and
// what share of a core the archiver takes, with as many small transactions as this machine makes.
func BenchmarkArchive(b *testing.B) {
	for _, name := range builds {
		b.Run(name, func(b *testing.B) {
			build, err := lab.Find(name)
			if err != nil {
				b.Fatal(err)
			}
			s := newScene(b, build, "sync-binlog=0", "innodb-flush-log-at-trx-commit=2")
			for b.Loop() {
				s.measure(b)
			}
		})
	}
}

func (s *scene) measure(b *testing.B) {
	cmd := s.process()
	w, err := s.Write(b.Context(), lab.WriterOptions{Workers: 8})
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	var lags []time.Duration
	begun := time.Now()
	for time.Since(begun) < 15*time.Second {
		end, at := s.end(), time.Now()
		for {
			l := s.last()
			if number(l.Name) > number(end.file) || l.Name == end.file && l.Size >= end.at {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		lags = append(lags, time.Since(at))
	}
	took := time.Since(begun)
	commits := len(w.Since(begun))
	w.Stop()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	slices.Sort(lags)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.ReportMetric(float64(commits)/took.Seconds(), "commits/s")
	b.ReportMetric(float64(lags[len(lags)/2].Milliseconds()), "lag-p50-ms")
	b.ReportMetric(float64(lags[len(lags)*99/100].Milliseconds()), "lag-p99-ms")
	b.ReportMetric(100*cpu.Seconds()/(took.Seconds()+2), "%core")
}
