package wire

import (
	"errors"
	"fmt"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// BinlogAdmin is the server of an instance, by the account that Holdstill itself has there.
func BinlogAdmin(i *config.Instance) (archive.Source, error) {
	own, err := Endpoint(i)
	if err != nil {
		return archive.Source{}, err
	}
	r, err := family.ReachOf(own)
	return archive.Source(r), err
}

// BinlogReplica is how a replica of an instance is asked: by the account of the section binlog.
func BinlogReplica(i *config.Instance, host string, port int) (archive.Source, error) {
	if i.Binlog.ClientOptionFile == "" {
		return archive.Source{}, errors.New("there is no account for it: binlog.client_option_file in the configuration names one")
	}
	r, err := family.ReachOf(database.Endpoint{Host: host, Port: port, OptionFile: i.Binlog.ClientOptionFile})
	return archive.Source(r), err
}

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
