package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Network is a set of hosts, each a network namespace with one address, on a bridge that lives in one more namespace: no address
// and no route appears in the machine's own network.
type Network struct {
	hosts    map[string]string // host -> address, without the mask
	prefix   string
	switcher string
	ports    map[string]string // host -> its port on the bridge
}

// Network makes namespaces for the hosts (name -> IPv4 address, with or without /24). Their real names carry a prefix of the lab:
// see Network.Netns.
func (l *Lab) Network(ctx context.Context, name string, hosts map[string]string) (*Network, error) {
	return l.network(ctx, l.prefix(), name, hosts)
}

// NetworkExact is Network with the hosts' names as they are, for a demo that shows them; only one such lab can live on a machine.
func (l *Lab) NetworkExact(ctx context.Context, name string, hosts map[string]string) (*Network, error) {
	return l.network(ctx, "", name, hosts)
}

func (l *Lab) network(ctx context.Context, prefix, name string, hosts map[string]string) (*Network, error) {
	n := &Network{hosts: map[string]string{}, prefix: prefix, switcher: prefix + name, ports: map[string]string{}}
	if err := l.addNetns(ctx, n.switcher); err != nil {
		return nil, err
	}
	if err := steps(ctx,
		[]string{"-n", n.switcher, "link", "add", "br0", "type", "bridge"},
		[]string{"-n", n.switcher, "link", "set", "br0", "up"}); err != nil {
		return nil, err
	}
	for i, host := range slices.Sorted(maps.Keys(hosts)) {
		address, _, _ := strings.Cut(hosts[host], "/")
		n.hosts[host], n.ports[host] = address, "port"+strconv.Itoa(i)
		if err := l.addNetns(ctx, n.Netns(host)); err != nil {
			return nil, err
		}
		if err := n.plug(ctx, host, address+"/24"); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (l *Lab) addNetns(ctx context.Context, name string) error {
	if !plain.MatchString("/"+name) || strings.Contains(name, "/") {
		return fmt.Errorf("%q cannot be a namespace's name", name)
	}
	// Looked at before it is promised: the reaper must not take a namespace that was somebody else's.
	if isFile("/run/netns/" + name) {
		return fmt.Errorf("there is a network namespace %s already", name)
	}
	if err := l.promise("netns", name); err != nil {
		return err
	}
	return steps(ctx, []string{"netns", "add", name})
}

// plug joins the host to the bridge. The pair is made inside the namespaces, so that its names meet nobody's.
func (n *Network) plug(ctx context.Context, host, address string) error {
	ns, port := n.Netns(host), n.ports[host]
	return steps(ctx,
		[]string{"-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", n.switcher},
		[]string{"-n", ns, "link", "set", "lo", "up"},
		[]string{"-n", ns, "addr", "add", address, "dev", "eth0"},
		[]string{"-n", ns, "link", "set", "eth0", "up"},
		[]string{"-n", n.switcher, "link", "set", port, "master", "br0"},
		[]string{"-n", n.switcher, "link", "set", port, "up"})
}

func steps(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if _, err := run(ctx, "ip", args...); err != nil {
			return fmt.Errorf("cannot set up the lab's network: %w", err)
		}
	}
	return nil
}

// Netns is the real name of a host's namespace, for Spec.Netns and nsenter.
func (n *Network) Netns(host string) string { return n.prefix + host }

// Address is a host's address.
func (n *Network) Address(host string) string { return n.hosts[host] }

// Down unplugs a host at the bridge: its packets vanish, and nothing tells it so.
func (n *Network) Down(ctx context.Context, host string) error { return n.link(ctx, host, "down") }

// Up plugs it in again.
func (n *Network) Up(ctx context.Context, host string) error { return n.link(ctx, host, "up") }

func (n *Network) link(ctx context.Context, host, state string) error {
	port, ok := n.ports[host]
	if !ok {
		return fmt.Errorf("the network has no host %s", host)
	}
	return steps(ctx, []string{"-n", n.switcher, "link", "set", port, state})
}

// Command gives the words that run a program on a host, for exec.Command(words[0], words[1:]...).
func (n *Network) Command(host string, words ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + n.Netns(host), "--"}, words...)
}
