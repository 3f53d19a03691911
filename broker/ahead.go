package broker

import (
	"context"
	"fmt"
	"io"
)

// A chunk is inflated while what came before it is masked and sent: aheadDepth
// pieces of aheadPiece bytes are read ahead.
const (
	aheadPiece = 128 << 10
	aheadDepth = 3
)

// ahead reads from another goroutine, a few pieces ahead. Errors, the end
// included, come in their place in the stream.
type ahead struct {
	filled <-chan piece
	free   chan<- []byte
	now    piece
	read   int // of now
}

type piece struct {
	bytes []byte
	err   error // after the bytes
}

// readAhead starts reading r until ctx ends, which must end a read of r too.
func (b *Broker) readAhead(ctx context.Context, r io.Reader) *ahead {
	filled, free := make(chan piece, aheadDepth), make(chan []byte, aheadDepth+1)
	for range aheadDepth {
		free <- make([]byte, aheadPiece)
	}
	b.spawn(func(context.Context) {
		defer close(filled)
		for {
			var buf []byte
			select {
			case buf = <-free:
			case <-ctx.Done():
				return
			}
			n, err := readPiece(r, buf)
			select {
			case filled <- piece{buf[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return &ahead{filled: filled, free: free}
}

// readPiece reads once. A panic over outside bytes must not end the process.
func readPiece(r io.Reader, buf []byte) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("%w: the inflater gave up", errUpstream)
		}
	}()
	return r.Read(buf)
}

func (a *ahead) Read(p []byte) (int, error) {
	for a.read == len(a.now.bytes) {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.bytes != nil {
			a.free <- a.now.bytes[:cap(a.now.bytes)] // there is room for all of them
		}
		next, ok := <-a.filled
		if !ok {
			next.err = fmt.Errorf("%w: reading ahead was stopped", errUpstream)
		}
		a.now, a.read = next, 0
	}
	n := copy(p, a.now.bytes[a.read:])
	a.read += n
	return n, nil
}
