package cli

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/holdstill/holdstill/internal/dump"
)

// dumpProgress draws a bar on a terminal, and is silent elsewhere: the log has the tables. end is to be called when the dump is over.
func (a *app) dumpProgress() (tell func(dump.Event), end func()) {
	if a.json || !isTerminal(a.stderr) {
		return nil, func() {}
	}
	bar := a.bytesBar("dump")
	return func(e dump.Event) {
			bar.ChangeMax64(max(e.Total, 1))
			_ = bar.Set64(e.Done)
		}, func() {
			_ = bar.Exit()
			fmt.Fprintln(a.stderr)
		}
}

func (a *app) bytesBar(what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(1, progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowBytes(true), progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(true))
}
