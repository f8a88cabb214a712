package archive

// Logs lists what is archived, in order of Seq.
func (a *Archive) Logs() ([]Log, error) {
	entries, err := readEntries(a.dir)
	if err != nil {
		return nil, err
	}
	logs := make([]Log, 0, len(entries))
	for _, e := range entries {
		logs = append(logs, e.Log)
	}
	return logs, nil
}
