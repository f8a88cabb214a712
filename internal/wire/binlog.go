package wire

import (
	"fmt"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// BinlogSources are the servers whose binary logs are an instance's: itself, and those that it may go on with.
func BinlogSources(i *config.Instance) ([]archive.Source, error) {
	if i.Kind != "" {
		return nil, fmt.Errorf("the instance %s is no server, and has no binary log", i.Name)
	}
	own, err := Endpoint(i)
	if err != nil {
		return nil, err
	}
	if file := i.Binlog.ClientOptionFile; file != "" {
		own.User, own.OptionFile = "", file
	}
	endpoints := []database.Endpoint{own}
	for _, server := range i.Binlog.Servers {
		host, port, err := config.SplitServer(server)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, database.Endpoint{Host: host, Port: port, OptionFile: i.Binlog.ClientOptionFile})
	}
	var out []archive.Source
	for _, e := range endpoints {
		r, err := family.ReachOf(e)
		if err != nil {
			return nil, err
		}
		out = append(out, archive.Source(r))
	}
	return out, nil
}
