namespace IommuSim.Machinery;

/// <summary>
/// Records in registers of the unit. Each says in its last word whether it holds one, until software empties it; the unit fills them in
/// turn and writes over none.
/// </summary>
/// <param name="recordCount">How many; 1 and up.</param>
/// <param name="wordCount">Words of 64 bits in each.</param>
/// <param name="holds">The bits of the last word of which any says that the record holds something; writing 1 clears them.</param>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Primary Fault Logging, Fault Recording Registers (F), Fault Status Register (PFO, FRI). Arm
/// SMMU architecture specification 2.0 (IHI 0062), SMMU_CBn_FSR and SMMU_CBn_FAR: one record, and MULTI for what is lost.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class RecordBank(int recordCount, int wordCount, ulong holds)
{
    private readonly ulong[] _words = new ulong[recordCount * wordCount];
    private int _next;
    private int _held;

    /// <summary>Whether any record holds something.</summary>
    public bool IsAnyHeld => _held != 0;

    /// <summary>The record with which that came to be so.</summary>
    public int FirstHeld { get; private set; }

    /// <summary>Reads a word; 0 beyond the last.</summary>
    public ulong Load(int word) => word < _words.Length ? _words[word] : 0;

    /// <summary>A record is to be kept.</summary>
    /// <param name="record">Its words.</param>
    /// <param name="isOverflowed">Whether one was lost, and software has not acknowledged it: then nothing is recorded. Whoever tells software of it knows.</param>
    public RecordOutcome Add(ReadOnlySpan<ulong> record, bool isOverflowed)
    {
        if (isOverflowed) return RecordOutcome.Lost;
        Span<ulong> place = _words.AsSpan(_next * wordCount, wordCount);
        if ((place[^1] & holds) != 0) return RecordOutcome.Overflowed;

        record.CopyTo(place);
        if (_held++ == 0) FirstHeld = _next;
        _next = (_next + 1) % recordCount;
        return RecordOutcome.Kept;
    }

    /// <summary>Software writes 1 to clear; what is not the last word of a record takes nothing.</summary>
    public void Clear(int word, ulong bits)
    {
        if (word >= _words.Length || (word + 1) % wordCount != 0 || (_words[word] & holds) == 0) return;
        _words[word] &= ~(bits & holds);
        if ((_words[word] & holds) == 0) _held--;
    }

    /// <summary>The next record goes to the first place.</summary>
    public void ResetIndex() => _next = 0;
}
