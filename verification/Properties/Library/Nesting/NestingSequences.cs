using CsCheck;
using Harness.Generating;
using IommuSim;
using Platform;
using Vcmm;
using Xunit.Abstractions;

namespace Properties.Library.Nesting;

/// <summary>Generated histories of guests, of their region and of their devices; and guests that write whatever they like into their tables.</summary>
[Collection(QuickFirst.Last + nameof(NestingSequences))]
public sealed class NestingSequences(ITestOutputHelper output)
{
    private static readonly Gen<(int, int, int, int)[]> Steps =
        Gen.Select(Gen.Int[0, NestedWorld.StepKinds - 1], Gen.Int[0, 59], Gen.Int[0, 59], Gen.Int[0, 59]).Array[1, 60];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_device_reaches_what_its_guest_and_the_region_say_together_and_nothing_else(bool cachesAbsent)
    {
        (int Reached, int Blocked, int Late, int Fetched) seen = default;
        Steps.ForAll(300, steps =>
        {
            using var world = new NestedWorld(cachesAbsent);
            world.Run(steps);
            seen = (seen.Reached + world.Seen.Reached, seen.Blocked + world.Seen.Blocked, seen.Late + world.Seen.Late, seen.Fetched + world.Seen.Fetched);
        });
        output.WriteLine($"{seen}");
        // Each of them, or the histories show little.
        Assert.True(seen is { Reached: > 3000, Blocked: > 3000, Late: > 100, Fetched: > 1000 }, $"{seen}");
    }

    /// <summary>The hardware confines a guest to its region: neither its accesses nor the hardware's own to its tables go elsewhere.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_guest_that_writes_anything_into_its_tables_reaches_nothing_outside_its_region(int seed)
    {
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        Probe[] devices = [system.Join(guest), system.Join(guest, 5, hasTlb: true)];
        HashSet<ulong> frames = [.. Enumerable.Range(0, (int)NestedSystem.PageCount).Select(page => system.Behind.AddressAt((ulong)page * Guest.Page).Value)];
        int reached = 0, blocked = 0, flags = 0;
        system.OnStep = (step, detail) =>
        {
            if (step is not (SimStep.MemoryAccess or SimStep.FlagUpdate)) return;
            Assert.Contains(detail & ~0xFFFUL, frames);
            if (step == SimStep.FlagUpdate) flags++;
            else reached++;
        };
        for (int round = 0; round < 40; round++)
        {
            for (ulong table = 0; table < Guest.TablePages; table++)
            {
                for (ulong offset = 0; offset < Guest.Page; offset += sizeof(ulong)) guest.Write(system.At(table) + offset, Word(system, random));
            }

            foreach (Probe device in devices) device.Association.Invalidate(new(new(0), new(ulong.MaxValue)));
            for (int i = 0; i < 100; i++)
            {
                Probe device = devices[i % 2];
                var at = new Iova((ulong)random.NextInt64(1L << 47) & ~7UL);
                bool isDone = i % 3 == 0 ? device.Write(at, Word(system, random)) : device.Read(at) is not null;
                if (!isDone) blocked++;
            }

            // Of the region a page goes, of data or of tables; what comes in its place is another.
            ulong page = Guest.TablePages + (ulong)random.NextInt64((long)(NestedSystem.PageCount - Guest.TablePages));
            PhysAddr frame = system.Behind.AddressAt(page * Guest.Page);
            system.Pages.Unback(page * Guest.Page, Guest.Page);
            frames.Remove(frame.Value);
            foreach (Probe device in devices) device.Read(new Iova((ulong)random.NextInt64(1L << 47) & ~7UL));
            system.Pages.Back(page * Guest.Page, system.Behind, page * Guest.Page, Guest.Page);
            frames.Add(frame.Value);
        }

        output.WriteLine($"{reached} reached, {blocked} blocked, {flags} flags");
        Assert.True(reached > 200 && blocked > 200 && flags > 200, $"{reached} reached, {blocked} blocked, {flags} flags");
    }

    /// <summary>Often one that leads on within the region, at times one that leads anywhere, or nowhere.</summary>
    private static ulong Word(NestedSystem system, Random random) => random.Next(16) switch
    {
        0 => (ulong)random.NextInt64() << 1 | (uint)random.Next(2),
        1 => (ulong)random.NextInt64(1L << 26) | Guest.Grants,
        2 => system.At((ulong)random.NextInt64(1L << 18)).Value | Guest.Grants | Guest.LargeLeaf,
        3 => system.Region.Range.First.Value | Guest.Grants | Guest.LargeLeaf,
        _ => system.At((ulong)random.NextInt64((long)(random.Next(3) == 0 ? NestedSystem.PageCount : Guest.TablePages))).Value | Guest.Present | Guest.User | (random.Next(4) == 0 ? 0 : Guest.Writable),
    };
}
