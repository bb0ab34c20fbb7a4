package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// node is a multiplexed connection to a node: gRPC on the first stream, and what the node opens.
type node struct {
	*grpc.ClientConn
	session *yamux.Session
	served  chan net.Conn // streams of the node that carry gRPC

	mutex     sync.Mutex
	callbacks map[int64]func(*sidechannel) error
	results   map[int64]chan error
}

// connect opens "tcp:HOST:PORT", "tls:HOST:PORT" or "unix:PATH".
func connect(address string) (net.Conn, error) {
	scheme, rest, _ := strings.Cut(address, ":")
	switch scheme {
	case "unix":
		return net.Dial("unix", rest)
	case "tls":
		_, verifies := os.LookupEnv("PEER_VERIFIES") // by SSL_CERT_FILE; else it trusts everybody
		return tls.Dial("tcp", rest, &tls.Config{
			InsecureSkipVerify: !verifies, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
		})
	default:
		return net.Dial("tcp", rest)
	}
}

func grpcOver(open func() (net.Conn, error), pings time.Duration) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:node",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return open() }),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pings, PermitWithoutStream: true}))
}

// dialPlain speaks gRPC on the connection itself.
func dialPlain(address string, pings time.Duration) (*grpc.ClientConn, error) {
	return grpcOver(func() (net.Conn, error) { return connect(address) }, pings)
}

// dialMultiplexed writes the magic bytes and runs yamux, configured as the reference's clients do.
func dialMultiplexed(address string, pings time.Duration) (*node, error) {
	n := &node{
		served:    make(chan net.Conn),
		callbacks: map[int64]func(*sidechannel) error{},
		results:   map[int64]chan error{},
	}
	connection, err := connect(address)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(connection, "backchannel"); err != nil {
		return nil, err
	}
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false
	config.StreamCloseTimeout = time.Second
	config.MaxStreamWindowSize = 262144
	config.LogOutput = io.Discard
	if n.session, err = yamux.Client(connection, config); err != nil {
		return nil, err
	}
	first, err := n.session.Open()
	if err != nil {
		return nil, err
	}
	go n.acceptStreams()
	var once sync.Once
	n.ClientConn, err = grpcOver(func() (net.Conn, error) {
		err := errors.New("the session is used up")
		once.Do(func() { err = nil })
		return first, err
	}, pings)
	return n, err
}

func (n *node) acceptStreams() {
	for {
		stream, err := n.session.Accept()
		if err != nil {
			close(n.served)
			return
		}
		go n.sniff(stream)
	}
}

// sniff tells a sidechannel from gRPC by the first eleven bytes.
func (n *node) sniff(stream net.Conn) {
	reader := bufio.NewReader(stream)
	magic, err := reader.Peek(11)
	if err != nil {
		stream.Close()
		return
	}
	if string(magic) != "sidechannel" {
		n.served <- &sniffed{stream, reader}
		return
	}
	var head [19]byte
	if _, err := io.ReadFull(reader, head[:]); err != nil {
		stream.Close()
		return
	}
	n.serveSidechannel(&sniffed{stream, reader}, int64(binary.BigEndian.Uint64(head[11:])))
}

func (n *node) serveSidechannel(stream net.Conn, id int64) {
	defer stream.Close()
	n.mutex.Lock()
	callback, result := n.callbacks[id], n.results[id]
	n.mutex.Unlock()
	if callback == nil {
		return
	}
	result <- callback(&sidechannel{stream})
}

// offer registers what shall serve the sidechannel with a number; the result comes once.
func (n *node) offer(id int64, callback func(*sidechannel) error) chan error {
	result := make(chan error, 1)
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.callbacks[id], n.results[id] = callback, result
	return result
}

// sniffed is a stream of which some bytes have been read already.
type sniffed struct {
	net.Conn
	reader *bufio.Reader
}

func (s *sniffed) Read(p []byte) (int, error) { return s.reader.Read(p) }

// streams makes a listener of the streams that carry gRPC.
type streams struct{ n *node }

func (s streams) Accept() (net.Conn, error) {
	stream, ok := <-s.n.served
	if !ok {
		return nil, net.ErrClosed
	}
	return stream, nil
}
func (s streams) Close() error   { return nil }
func (s streams) Addr() net.Addr { return s.n.session.Addr() }
