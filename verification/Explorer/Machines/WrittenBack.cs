using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Machines;

/// <summary>
/// What walkers see that do not snoop: of each word that caches have newer, all it has been since its line was last written back. The first is
/// what walkers read.
/// </summary>
/// <remarks>
/// A line is written back as a whole. To clean it writes it back as it is at some instant after the cleaning began: what the same processor
/// writes between the cleaning and its fence may be in it or not.
/// </remarks>
[SkipRewriting("A step of memory is one step.")]
internal sealed class WrittenBack
{
    private const ulong LineBytes = 64;
    private readonly Dictionary<ulong, List<Version>> _words = [];

    /// <summary>The number of the last store that took effect.</summary>
    public long Now { get; private set; }

    /// <summary>Everything is written back.</summary>
    public void Clear() => _words.Clear();

    /// <summary>A processor's store took effect in its cache.</summary>
    public void Add(in PendingStore store, string processor, ulong old, ulong now)
    {
        if (!_words.TryGetValue(store.Word.Value, out List<Version>? versions)) _words[store.Word.Value] = versions = [new(Now, "", 0, old)];
        versions.Add(new(++Now, processor, store.Issued, now));
    }

    /// <summary>Hardware wrote: all see it.</summary>
    public void Publish(in PendingStore store)
    {
        if (!_words.TryGetValue(store.Word.Value, out List<Version>? versions)) return;
        for (int i = 0; i < versions.Count; i++) versions[i] = versions[i] with { Value = store.Into(versions[i].Value) };
    }

    /// <summary>What walkers read where caches have <paramref name="present"/>.</summary>
    public ulong Seen(PhysAddr word, ulong present) => _words.TryGetValue(word.Value, out List<Version>? versions) ? versions[0].Value : present;

    /// <summary>How many things a walker may find in a word.</summary>
    public int VersionsOf(PhysAddr word) => _words.TryGetValue(word.Value, out List<Version>? versions) ? versions.Count : 1;

    /// <summary>A cache writes the line of the word back, with the word as it was so many stores after what walkers read.</summary>
    public void WriteBack(PhysAddr word, int version) => WriteBackLine(word.Value & ~(LineBytes - 1), _words[word.Value][version].Number);

    /// <summary>A cleaning of <paramref name="processor"/> is complete.</summary>
    public void Clean(in PendingClean clean, string processor)
    {
        for (ulong line = clean.Range.First.Value & ~(LineBytes - 1); line <= clean.Range.Last.Value; line += LineBytes)
        {
            long instant = -1;
            for (ulong word = line; word < line + LineBytes; word += sizeof(ulong))
            {
                if (!_words.TryGetValue(word, out List<Version>? versions)) continue;
                foreach (Version version in versions)
                {
                    if (version.Number <= clean.Now || (version.Processor == processor && version.Issued <= clean.Issued))
                        instant = Math.Max(instant, version.Number);
                }
            }

            WriteBackLine(line, instant);
        }
    }

    private void WriteBackLine(ulong line, long instant)
    {
        for (ulong word = line; word < line + LineBytes; word += sizeof(ulong))
        {
            if (!_words.TryGetValue(word, out List<Version>? versions)) continue;
            int seen = versions.FindLastIndex(version => version.Number <= instant);
            if (seen > 0) versions.RemoveRange(0, seen);
            if (versions.Count == 1) _words.Remove(word);
        }
    }

    /// <param name="Number">Which store it was, of all.</param>
    /// <param name="Processor">Whose.</param>
    /// <param name="Issued">Its number when it was made.</param>
    /// <param name="Value">The word after it.</param>
    private readonly record struct Version(long Number, string Processor, long Issued, ulong Value);
}
