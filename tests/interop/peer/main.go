// Peer is what a Gitaly node meets: clients as Shell, Workhorse and Praefect have them, on the
// libraries that those use. It knows no messages: tests give requests and read answers in hex.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// rawCodec passes messages through as bytes.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (rawCodec) Name() string                       { return "proto" }

type pairs []string

func (p *pairs) String() string         { return strings.Join(*p, ",") }
func (p *pairs) Set(value string) error { *p = append(*p, value); return nil }

var (
	address = flag.String("address", "", "tcp:HOST:PORT, tls:HOST:PORT or unix:PATH")
	plain   = flag.Bool("plain", false, "gRPC on the connection itself")
	method  = flag.String("method", "/grpc.health.v1.Health/Check", "full name")
	request = flag.String("request", "", "hex")
	mode    = flag.String("sidechannel", "", "raw, sideband, silent, wrong, slow or leave")
	input   = flag.String("input", "", "what the sidechannel sends, hex; without it standard input")
	offered = flag.Int64("offer", 0, "number under which the sidechannel is known")
	named   = flag.String("name", "0", "number in the metadata; empty: none")
	calls   = flag.Int("calls", 1, "at once, each with a sidechannel of its own")
	pings   = flag.Duration("pings", 20*time.Second, "between keepalive pings")
	idle    = flag.Duration("idle", 0, "before a second call on the same connection")
	vote    = flag.String("vote", "", "serve gRPC to the node and give this answer, hex")
	packed  = flag.Bool("gzip", false, "compress the request")
	limit   = flag.Duration("deadline", time.Minute, "of each call")
	output  = flag.String("report", "", "file for reports, a line of JSON for each call")
	extra   pairs
)

func main() {
	flag.Var(&extra, "metadata", "KEY=VALUE, any number of times")
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if *plain {
		connection, err := dialPlain(*address, *pings)
		if err != nil {
			return err
		}
		defer connection.Close()
		return ask(connection, nil)
	}
	n, err := dialMultiplexed(*address, *pings)
	if err != nil {
		return err
	}
	defer n.Close()
	if *vote != "" {
		return serveVotes(n)
	}
	return ask(n.ClientConn, n)
}

// ask makes the calls and writes what came of each.
func ask(connection *grpc.ClientConn, n *node) error {
	reports := make([]*report, *calls)
	var all sync.WaitGroup
	for number := range reports {
		all.Go(func() { reports[number] = call(connection, n, int64(number)) })
	}
	all.Wait()
	if *idle > 0 {
		time.Sleep(*idle)
		reports = append(reports, call(connection, n, 0))
	}
	return write(reports)
}

func write(reports []*report) error {
	var lines bytes.Buffer
	var failed error
	for _, r := range reports {
		line, _ := json.Marshal(r)
		lines.Write(append(line, '\n'))
		if r.Code != "OK" {
			failed = fmt.Errorf("%s: %s", r.Code, r.Message)
		}
	}
	if *output != "" {
		return os.WriteFile(*output, lines.Bytes(), 0o600)
	}
	return failed
}

func call(connection *grpc.ClientConn, n *node, number int64) *report {
	message, _ := hex.DecodeString(*request)
	first, _ := hex.DecodeString(*input)
	r := newReport(first)
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	for _, pair := range extra {
		key, value, _ := strings.Cut(pair, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	var served chan error
	if *mode != "" {
		var source io.Reader = os.Stdin
		var target io.Writer = os.Stdout
		if *input != "" && *mode != "slow" {
			source = bytes.NewReader(first)
		}
		if *calls > 1 {
			target = io.Discard
		}
		served = n.offer(*offered+number, behaviour(*mode, source, target, r))
		name := *named
		if *calls > 1 {
			name = fmt.Sprint(number)
		}
		if name != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "gitaly-sidechannel-id", name)
		}
	}
	var response []byte
	var options []grpc.CallOption
	if *packed {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	err := connection.Invoke(ctx, *method, &message, &response, options...)
	r.Code, r.Message = status.Code(err).String(), status.Convert(err).Message()
	r.Response = hex.EncodeToString(response)
	if served != nil {
		select { // the node has closed the stream before it answered
		case err := <-served:
			if err != nil {
				r.Sidechannel = err.Error()
			}
		case <-time.After(5 * time.Second):
			r.Sidechannel = "still open or never opened"
		}
	}
	r.finish()
	return r
}

// serveVotes is Praefect's side: it makes one call, and answers the node's meanwhile and after it.
func serveVotes(n *node) error {
	answer, _ := hex.DecodeString(*vote)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			name, _ := grpc.MethodFromServerStream(stream)
			var asked []byte
			if err := stream.RecvMsg(&asked); err != nil {
				return err
			}
			fmt.Println(name, hex.EncodeToString(asked))
			return stream.SendMsg(&answer)
		}))
	go server.Serve(streams{n})
	r := call(n.ClientConn, n, 0)
	if err := write([]*report{r}); err != nil {
		return err
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return nil
}
