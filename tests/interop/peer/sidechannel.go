package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// sidechannel is a stream on which the node has named a call: framed input up, raw output down.
type sidechannel struct{ net.Conn }

func (s *sidechannel) agree() error {
	_, err := io.WriteString(s.Conn, "ok")
	return err
}

// Write sends frames: four hex digits, which count themselves, and the data.
func (s *sidechannel) Write(p []byte) (int, error) {
	for start := 0; start < len(p); start += 65516 {
		piece := p[start:min(start+65516, len(p))]
		if _, err := fmt.Fprintf(s.Conn, "%04x", len(piece)+4); err != nil {
			return start, err
		}
		if _, err := s.Conn.Write(piece); err != nil {
			return start, err
		}
	}
	return len(p), nil
}

func (s *sidechannel) closeInput() error {
	_, err := io.WriteString(s.Conn, "0000")
	return err
}

// behaviours of a client, by the value of -sidechannel.
func behaviour(name string, input io.Reader, output io.Writer, report *report) func(*sidechannel) error {
	send := func(s *sidechannel) {
		if _, err := io.Copy(s, input); err == nil {
			s.closeInput()
		}
	}
	note := func(reader io.Reader) io.Reader { return io.TeeReader(reader, report) }
	switch name {
	case "raw": // as Workhorse: the output is what git said
		return func(s *sidechannel) error {
			s.agree()
			go send(s)
			_, err := io.Copy(output, note(s))
			return err
		}
	case "sideband": // as Shell: the output is in packets of two bands
		return func(s *sidechannel) error {
			s.agree()
			go send(s)
			return splitBands(note(s), output, os.Stderr)
		}
	case "silent": // never says ok
		return func(s *sidechannel) error { _, err := io.Copy(io.Discard, s); return err }
	case "wrong":
		return func(s *sidechannel) error { _, err := io.WriteString(s.Conn, "no"); return err }
	case "slow": // reads one byte and then nothing, until its own input ends
		return func(s *sidechannel) error {
			s.agree()
			go io.Copy(s, bytes.NewReader(report.first))
			_, err := io.ReadFull(note(s), make([]byte, 1))
			report.say("waiting")
			io.Copy(io.Discard, input)
			return err
		}
	case "leave": // is gone after a megabyte, without a word
		return func(s *sidechannel) error {
			s.agree()
			go io.Copy(s, bytes.NewReader(report.first))
			io.CopyN(io.Discard, s, 1<<20)
			os.Exit(7)
			return nil
		}
	}
	return nil
}

func splitBands(from io.Reader, stdout, stderr io.Writer) error {
	outputs := map[byte]io.Writer{1: stdout, 2: stderr}
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(from, head[:4]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(head[:4]), 16, 16)
		if err != nil || size < 5 {
			return fmt.Errorf("invalid sideband packet: %q", head[:4])
		}
		if _, err := io.ReadFull(from, head[4:]); err != nil {
			return err
		}
		output := outputs[head[4]]
		if output == nil {
			return fmt.Errorf("invalid band: %d", head[4])
		}
		if _, err := io.CopyN(output, from, int64(size)-5); err != nil {
			return err
		}
	}
}

// report is what a test wants to know of one call.
type report struct {
	Code        string  `json:"code"`
	Message     string  `json:"message"`
	Response    string  `json:"response"` // hex
	Sidechannel string  `json:"sidechannel"`
	Bytes       int     `json:"bytes"` // that came on the sidechannel
	Digest      string  `json:"digest"`
	Seconds     float64 `json:"seconds"`
	first       []byte
	hash        interface {
		io.Writer
		Sum([]byte) []byte
	}
	began time.Time
}

func newReport(first []byte) *report {
	return &report{hash: sha256.New(), began: time.Now(), first: first}
}

func (r *report) Write(p []byte) (int, error) {
	r.Bytes += len(p)
	return r.hash.Write(p)
}

func (r *report) say(word string) { fmt.Fprintln(os.Stdout, word) }

func (r *report) finish() {
	r.Digest = hex.EncodeToString(r.hash.Sum(nil))
	r.Seconds = time.Since(r.began).Seconds()
}
