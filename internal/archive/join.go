package archive

import (
	"fmt"
	"time"
)

// join tells what is between the end of the archive and a log that begins: nil, if that follows.
func (c course) join(end *entry, next Log, every bool) (*Gap, error) {
	if end == nil {
		return nil, nil
	}
	reason, lost, err := c.breach(end, next, every)
	if err != nil || reason == "" {
		return nil, err
	}
	return &Gap{
		Reason: reason, GTIDs: lost, FoundAt: time.Now().UTC().Truncate(time.Millisecond),
		From: position{end.Name, end.Size}.String(), To: position{next.Name, start}.String(),
		After: end.Last, Until: next.First,
	}, nil
}

// breach is why a log does not follow on the last one, and the GTIDs that are missing between. every tells that each transaction has a GTID.
func (c course) breach(end *entry, next Log, every bool) (reason, lost string, err error) {
	if lost, err = missing(next.GTIDBefore, end.GTIDAfter); err != nil {
		return "", "", err
	}
	again, err := missing(end.GTIDAfter, next.GTIDBefore)
	if err != nil {
		return "", "", err
	}
	meet := lost == "" && again == "" && every && end.GTIDAfter != ""
	switch {
	case c.gap != "":
		return c.gap, lost, nil
	case c.doubt != "" && !meet:
		return c.doubt, lost, nil
	case lost != "":
		return fmt.Sprintf("transactions are missing that %s begins with", next.Name), lost, nil
	case again != "" && c.suspect:
		return fmt.Sprintf("the server's binary logs were reset: %s begins without transactions that were archived", next.Name), "", nil
	}
	return "", "", nil
}
