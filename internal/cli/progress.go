package cli

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/holdstill/holdstill/internal/restore"
)

// progress draws a bar on a terminal, and is silent elsewhere: the log has the stages.
func (a *app) progress() func(restore.Event) {
	if a.json || !isTerminal(a.stderr) {
		return nil
	}
	var bar *progressbar.ProgressBar
	end := func() {
		if bar != nil {
			_ = bar.Exit()
			fmt.Fprintln(a.stderr)
			bar = nil
		}
	}
	return func(e restore.Event) {
		switch {
		case e.Total > 0:
			if bar == nil {
				bar = progressbar.NewOptions64(e.Total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowBytes(true),
					progressbar.OptionSetDescription(e.Stage), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30))
			}
			_ = bar.Set64(e.Done)
			if e.Done >= e.Total {
				end()
			}
		case e.LagSeconds != nil:
			fmt.Fprintf(a.stderr, "\r%s: %d s behind   ", e.Stage, *e.LagSeconds)
		default:
			end()
		}
	}
}
