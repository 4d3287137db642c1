namespace Harness.ModelChecking;

/// <summary>The states that a search has seen: of each the fingerprint, in the order in which they came, and the state that it was reached from.</summary>
/// <remarks>Safe for any number of threads.</remarks>
internal sealed class StateTable
{
    private const int ShardCount = 64, FirstCapacity = 1 << 10, ChunkBits = 16;

    private readonly Shard[] _shards = [.. Enumerable.Range(0, ShardCount).Select(static _ => new Shard())];
    private readonly object _growing = new();
    private Chunk[] _chunks = [];
    private int _count;

    /// <summary>How many states.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Bytes that the table takes.</summary>
    public long ByteCount => _shards.Sum(static shard => shard.ByteCount) + (Volatile.Read(ref _chunks).LongLength * (12L << ChunkBits));

    /// <summary>Adds a state.</summary>
    /// <param name="fingerprint">Its fingerprint, not 0.</param>
    /// <param name="parent">The number of the state that it was reached from; -1: none.</param>
    /// <param name="number">Its number: of the one that was there, if it was.</param>
    /// <returns>Whether it was not there.</returns>
    public bool TryAdd(ulong fingerprint, int parent, out int number)
    {
        // The low bits choose the slot.
        Shard shard = _shards[fingerprint >> 58];
        lock (shard)
        {
            if (shard.TryFind(fingerprint, out number)) return false;
            number = Interlocked.Increment(ref _count) - 1;
            Chunk chunk = ChunkOf(number);
            int place = number & ((1 << ChunkBits) - 1);
            chunk.Fingerprints[place] = fingerprint;
            chunk.Parents[place] = parent;
            shard.Add(fingerprint, number);
            return true;
        }
    }

    /// <summary>The fingerprint of a state.</summary>
    public ulong FingerprintOf(int number) => Volatile.Read(ref _chunks)[number >> ChunkBits].Fingerprints[number & ((1 << ChunkBits) - 1)];

    /// <summary>The state that a state was reached from; -1: it was the first.</summary>
    public int ParentOf(int number) => Volatile.Read(ref _chunks)[number >> ChunkBits].Parents[number & ((1 << ChunkBits) - 1)];

    private Chunk ChunkOf(int number)
    {
        int index = number >> ChunkBits;
        if (index >= Volatile.Read(ref _chunks).Length)
        {
            lock (_growing)
            {
                while (index >= _chunks.Length) Volatile.Write(ref _chunks, [.. _chunks, new Chunk()]);
            }
        }

        return Volatile.Read(ref _chunks)[index];
    }

    private sealed class Chunk
    {
        public ulong[] Fingerprints { get; } = new ulong[1 << ChunkBits];

        public int[] Parents { get; } = new int[1 << ChunkBits];
    }

    /// <summary>Open addressing with linear probing; at most half full.</summary>
    private sealed class Shard
    {
        private ulong[] _keys = new ulong[FirstCapacity];
        private int[] _numbers = new int[FirstCapacity];
        private int _used;

        public long ByteCount => 12L * Volatile.Read(ref _keys).Length;

        public bool TryFind(ulong key, out int number)
        {
            int slot = SlotOf(key);
            number = _numbers[slot];
            return _keys[slot] == key;
        }

        public void Add(ulong key, int number)
        {
            if (2 * ++_used > _keys.Length) Grow();
            int slot = SlotOf(key);
            (_keys[slot], _numbers[slot]) = (key, number);
        }

        private int SlotOf(ulong key)
        {
            int mask = _keys.Length - 1, slot = (int)(key & (ulong)mask);
            while (_keys[slot] != 0 && _keys[slot] != key) slot = (slot + 1) & mask;
            return slot;
        }

        private void Grow()
        {
            (ulong[] keys, int[] numbers) = (_keys, _numbers);
            _numbers = new int[2 * keys.Length];
            Volatile.Write(ref _keys, new ulong[2 * keys.Length]);
            for (int i = 0; i < keys.Length; i++)
            {
                if (keys[i] == 0) continue;
                int slot = SlotOf(keys[i]);
                (_keys[slot], _numbers[slot]) = (keys[i], numbers[i]);
            }
        }
    }
}
