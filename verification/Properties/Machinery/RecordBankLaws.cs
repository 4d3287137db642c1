using CsCheck;
using Harness.Generating;
using IommuSim.Machinery;

namespace Properties.Machinery;

/// <summary>Records in registers: VT-d's bank of them, of which each has a bit F, and the one of an SMMUv2 context bank.</summary>
public sealed class RecordBankLaws
{
    private const ulong F = 1UL << 63;

    // SMMU_CBn_FSR: TF, AFF, PF, EF; FAR is the other word.
    private const ulong FsrFaults = 0x1E;

    [Fact]
    public void A_bank_fills_its_records_in_turn_writes_over_none_and_tells_what_is_lost()
    {
        int overflows = 0, laps = 0;
        Gen.Select(Gen.Int[1, 5], Gen.Int[0, 99].Array[1, 60]).ForAll(2000, (count, acts) =>
        {
            var bank = new RecordBank(count, wordCount: 2, holds: F);
            ulong?[] held = new ulong?[count];
            int next = 0, first = 0;
            bool isOverflowed = false;
            ulong number = 0;
            foreach (int act in acts)
            {
                if (act < 55)
                {
                    bool hasRoom = held[next] is null;
                    RecordOutcome expected = isOverflowed ? RecordOutcome.Lost : hasRoom ? RecordOutcome.Kept : RecordOutcome.Overflowed;
                    Assert.Equal(expected, bank.Add([++number, F | number], isOverflowed));
                    if (expected == RecordOutcome.Overflowed) overflows++;
                    isOverflowed |= expected == RecordOutcome.Overflowed;
                    if (expected == RecordOutcome.Kept)
                    {
                        if (Array.TrueForAll(held, static each => each is null)) first = next;
                        held[next] = number;
                        next = (next + 1) % count;
                        if (next == 0) laps++;
                    }
                }
                else if (act < 88)
                {
                    bank.Clear(act % count * 2 + 1, F);
                    held[act % count] = null;
                }
                else if (act < 97)
                {
                    isOverflowed = false;
                }
                else
                {
                    bank.ResetIndex();
                    next = 0;
                }

                Assert.Equal(Array.Exists(held, static each => each is not null), bank.IsAnyHeld);
                if (bank.IsAnyHeld) Assert.Equal(first, bank.FirstHeld);
                for (int i = 0; i < count; i++)
                {
                    Assert.Equal(held[i] is not null, (bank.Load(2 * i + 1) & F) != 0);
                    if (held[i] is { } there) Assert.Equal((there, F | there), (bank.Load(2 * i), bank.Load(2 * i + 1)));
                }
            }
        });
        Assert.True(overflows > 1000, "overflowed");
        Assert.True(laps > 1000, "went round");
    }

    [Fact]
    public void Only_a_one_in_the_last_word_empties_a_record()
    {
        var bank = new RecordBank(recordCount: 2, wordCount: 2, holds: F);
        bank.Add([F, F | 1], isOverflowed: false);
        bank.Clear(0, F);
        bank.Clear(1, ~F);
        bank.Clear(3, F);
        bank.Clear(4, F);
        Assert.True(bank.IsAnyHeld);
        Assert.Equal((F, F | 1), (bank.Load(0), bank.Load(1)));
        bank.Clear(1, ulong.MaxValue);
        Assert.False(bank.IsAnyHeld);
        Assert.Equal(1UL, bank.Load(1));
        bank.Clear(1, ulong.MaxValue);
        Assert.Equal(RecordOutcome.Kept, bank.Add([2, F | 2], isOverflowed: false));
        Assert.True(bank.IsAnyHeld);
        Assert.Equal(0UL, bank.Load(4));
    }

    /// <summary>Whatever a record has of words, the last of it says whether it holds something, and there is none behind the last.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void What_is_written_to_any_other_word_or_behind_the_last_record_clears_nothing(int wordCount)
    {
        var bank = new RecordBank(recordCount: 2, wordCount, holds: F);
        ulong[] record = new ulong[wordCount];
        record[^1] = F;
        for (int i = 0; i < 2; i++) Assert.Equal(RecordOutcome.Kept, bank.Add(record, isOverflowed: false));
        for (int word = 0; word < 3 * wordCount; word++)
        {
            if (word != wordCount - 1) bank.Clear(word, F);
            Assert.Equal(F, bank.Load(wordCount - 1));
        }

        Assert.True(bank.IsAnyHeld);
        bank.Clear(wordCount - 1, F);
        Assert.False(bank.IsAnyHeld);
    }

    /// <summary>SMMUv2: a fault while FSR has one leaves FSR and FAR as they are, and sets MULTI. Several bits of FSR may be set by one fault.</summary>
    [Fact]
    public void A_context_bank_has_one_record_and_says_that_there_were_more()
    {
        var bank = new RecordBank(recordCount: 1, wordCount: 2, holds: FsrFaults);
        Assert.Equal(RecordOutcome.Kept, bank.Add([0x1000, 0x6], isOverflowed: false));
        Assert.Equal(RecordOutcome.Overflowed, bank.Add([0x2000, 0x8], isOverflowed: false));
        Assert.Equal(RecordOutcome.Lost, bank.Add([0x3000, 0x8], isOverflowed: true));
        Assert.Equal((0x1000UL, 0x6UL), (bank.Load(0), bank.Load(1)));
        bank.Clear(1, 0x2);
        Assert.True(bank.IsAnyHeld);
        bank.Clear(1, 0x4);
        Assert.False(bank.IsAnyHeld);
        Assert.Equal(RecordOutcome.Kept, bank.Add([0x4000, 0x2], isOverflowed: false));
        Assert.Equal(0x4000UL, bank.Load(0));
    }
}
