package broker

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/klauspost/compress/gzip"

	"github.com/jit-access/jit/policy"
)

// envChunk makes this program the broker of BenchmarkChunkMemory: the address
// of a chunk, how many rows it has, and its format.
const envChunk = "JIT_BENCH_CHUNK"

// BenchmarkChunkMemory has a broker in a process of its own mask eight chunks at
// once, of 29 MB and of 116 MB each, and reports the most memory that process ever
// held (VmHWM), code and runtime included. Upstream and clients are elsewhere.
// Arrow comes in batches of 1 MB; a batch is what must fit into memory.
func BenchmarkChunkMemory(b *testing.B) {
	if chunk := os.Getenv(envChunk); chunk != "" {
		serveBenchChunk(b, chunk)
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip("no /proc here")
	}
	for _, format := range []string{"json", "arrow"} {
		b.Run(format, func(b *testing.B) {
			var small, large float64
			for b.Loop() {
				small, large = peakMemory(b, format, 29), peakMemory(b, format, 116)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(small, "MB-at-29MB")
			b.ReportMetric(large, "MB-at-116MB")
		})
	}
}

// peakMemory is the broker's in MB, for chunks of so many.
func peakMemory(b *testing.B, format string, mb int) float64 {
	packed, rows := jsonChunk(mb)
	if format == "arrow" {
		packed, rows = arrowChunk(b, mb)
	}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(packed) }))
	defer up.Close()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$", "-test.bench=^BenchmarkChunkMemory$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), envChunk+"="+strings.Join([]string{up.URL, strconv.FormatInt(rows, 10), format}, " "))
	said, say, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer said.Close()
	cmd.ExtraFiles = []*os.File{say}
	hold, err := cmd.StdinPipe() // its end ends the child
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_ = say.Close()
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	fetchAtOnce(b, strings.TrimSpace(address), 8, int64(mb)<<20/2)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_ = hold.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	var kb float64
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(after), &kb); err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}

// fetchAtOnce reads a chunk n times in parallel, each at least so long.
func fetchAtOnce(b *testing.B, address string, n int, least int64) {
	read := make(chan error, n)
	for range n {
		go func() {
			q, err := http.NewRequest("GET", address, nil)
			if err != nil {
				read <- err
				return
			}
			q.Header.Set(chunkHeader, "secret")
			q.Header.Set("Accept-Encoding", "identity")
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				read <- err
				return
			}
			got, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err == nil && (resp.StatusCode != http.StatusOK || got < least) {
				err = fmt.Errorf("status %d, %d bytes", resp.StatusCode, got)
			}
			read <- err
		}()
	}
	for range n {
		if err := <-read; err != nil {
			b.Fatal(err)
		}
	}
}

// serveBenchChunk is the child: a broker with one chunk, until stdin ends.
func serveBenchChunk(b *testing.B, chunk string) {
	var upstream, format string
	var rows int64
	if _, err := fmt.Sscan(chunk, &upstream, &rows, &format); err != nil {
		b.Fatal(err)
	}
	r, _ := benchRig(b, nil, nil)
	masks := benchMasks
	if format == "arrow" {
		masks = []policy.ColumnMask{{}, {Class: "pii.email", Mask: policy.MaskHash}, {Class: "pii.ssn", Mask: policy.MaskNull}}
	}
	address, _ := r.benchChunk(masks, upstream, rows, format == "arrow")
	say := os.NewFile(3, "address")
	_, _ = fmt.Fprintln(say, address)
	_ = say.Close()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// jsonChunk is a compressed chunk of about so many MB.
func jsonChunk(mb int) (packed []byte, rows int64) {
	const block = 8000
	one := benchRows(nil, block)
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed) // a level there is
	for n := 0; n < mb<<20; n += len(one) + 1 {
		if n > 0 {
			_, _ = z.Write([]byte{','})
		}
		_, _ = z.Write(one)
		rows += block
	}
	_ = z.Close()
	return buf.Bytes(), rows
}

// arrowChunk is the same in Arrow, in batches of a MB.
func arrowChunk(b *testing.B, mb int) (packed []byte, rows int64) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "ID", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "EMAIL", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "SSN", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	const batch = 25000
	build := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer build.Release()
	for i := range batch {
		build.Field(0).(*array.Int64Builder).Append(int64(i))
		build.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("user%d@example.com", i))
		build.Field(2).(*array.Int64Builder).Append(int64(i))
	}
	rec := build.NewRecordBatch()
	defer rec.Release()
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	w := ipc.NewWriter(z, ipc.WithSchema(schema))
	for range mb {
		if err := w.Write(rec); err != nil {
			b.Fatal(err)
		}
		rows += batch
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	_ = z.Close()
	return buf.Bytes(), rows
}
