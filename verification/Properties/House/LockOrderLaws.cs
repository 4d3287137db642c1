using Properties.House.Locks;

namespace Properties.House;

/// <summary>The library takes its locks in the order that it states, and the check that says so finds what it is there to find.</summary>
[Trait("Category", "House")]
public sealed class LockOrderLaws
{
    private static readonly Lazy<LockOrderCheck> Library =
        new(static () => LockOrderCheck.Of(typeof(Vcmm.VcmManager).Assembly.Location, static _ => true, "IQuarantined"));

    [Fact]
    public void The_library_takes_its_locks_in_the_stated_order() => AssertNone(Library.Value.Breaches);

    [Fact]
    public void The_order_allows_nothing_that_is_not_needed() => AssertNone(Library.Value.Idle);

    /// <summary>That nothing is wrong means nothing where little is seen.</summary>
    [Fact]
    public void The_check_sees_the_nestings_that_the_library_is_known_to_have()
    {
        string[] known =
        [
            "Associations -> Reservations", // TryFree
            "Reservations -> Reservation", // LetGo
            "Reservation -> Reservation", // TryCopy
            "Reservation -> Memory", // TryAddBacking
            "Associations -> Device", // Activate
            "Associations -> Domains", // through IIommu
            "Associations -> DeviceTables", // Attach
            "Reservation -> Queue", // Unback, through IIommu
            "Queue -> Command", // a queue that is started anew
            "Reservations -> RangeCache", // through IRangeAllocator
            "RangeCache -> RangeSlot",
            "RangeSlot -> Ranges", // GiveBackAll
            "Reservation -> Frames", // table pages
            "DeviceTables -> Frames",
        ];
        AssertNone(known.Except(Library.Value.Pairs));
    }

    [Fact]
    public void What_is_right_is_not_found_fault_with()
    {
        LockOrderCheck check = Check("RightLocks");
        AssertNone(check.Breaches);
        AssertNone(check.Idle);
        Assert.Equal("Middle -> Inner, Middle -> Middle, Outer -> Inner, Outer -> Middle", string.Join(", ", check.Pairs));
    }

    [Theory]
    [InlineData("ThroughTwoCalls", "ThroughTwoCalls.Start holds Pair.InnerGate (Inner) and calls ThroughTwoCalls.Continue, which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughAnInterface", "ThroughAnInterface.Start holds Pair.InnerGate (Inner) and calls ThroughAnInterface.Call, which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughAnOverride", "ThroughAnOverride.Start holds Pair.InnerGate (Inner) and calls Derived.Call, which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughALambda", "ThroughALambda.Run holds Pair.InnerGate (Inner) and calls ThroughALambda.Start (lambda), which calls ThroughALambda.Take, which takes Pair.OuterGate")]
    [InlineData("ThroughAMethodGroup", "ThroughAMethodGroup.Run holds Pair.InnerGate (Inner) and calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughTheRuntime", "ThroughTheRuntime.Start holds Pair.InnerGate (Inner) and calls ThroughTheRuntime.IsTaken, which takes Pair.OuterGate")]
    [InlineData("ThroughAnIterator", "ThroughAnIterator.Start holds Pair.InnerGate (Inner) and calls ThroughAnIterator.All, which calls ThroughAnIterator.All (step), which takes Pair.OuterGate")]
    [InlineData("ThroughAnAsyncMethod", "ThroughAnAsyncMethod.Start holds Pair.InnerGate (Inner) and calls ThroughAnAsyncMethod.Take, which calls ThroughAnAsyncMethod.Take (step), which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughAConstructor", "ThroughAConstructor.Start holds Pair.InnerGate (Inner) and calls Made..ctor, which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughDispose", "ThroughDispose.Start holds Pair.InnerGate (Inner) and calls Scope.Dispose, which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughAnInterpolation", "ThroughAnInterpolation.Start holds Pair.InnerGate (Inner) and calls ThroughAnInterpolation.ToString, which takes Pair.OuterGate")]
    [InlineData("ThroughATypeInitializer", "ThroughATypeInitializer.Start holds Pair.InnerGate (Inner) and calls Holder..cctor, which calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("ThroughAnotherOfItsKind", "ThroughAnotherOfItsKind.Take holds Pair.InnerGate (Inner) and calls ThroughAnotherOfItsKind.Take, which takes Pair.InnerGate")]
    [InlineData("LeftHeld", "LeftHeld.Start holds Pair.InnerGate (Inner) and calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("InACatch", "InACatch.Start holds Pair.InnerGate (Inner) and calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("AThinLock", "AThinLock.Start holds AThinLock._thin (Inner) and calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("AThinLockOfAClass", "AThinLockOfAClass.Start holds Slot (Inner) and calls Pair.TakeOuter, which takes Pair.OuterGate")]
    [InlineData("NoRank", "NoRank._gate is locked and has no rank")]
    [InlineData("NoField", "NoField.Start locks what cannot be followed: lock a field of type object or ThinLock, or an object of a class with a rank")]
    [InlineData("ItselfWithoutRank", "ItselfWithoutRank is locked and has no rank")]
    [InlineData("TheSameTwice", "TheSameTwice.Start holds Pair.InnerGate (Inner) and calls TheSameTwice.Take, which takes Pair.InnerGate")]
    [InlineData("TheSameInALoop", "TheSameInALoop.Start holds TheSameInALoop._gates (Middle) and takes TheSameInALoop._gates")]
    [InlineData("AWait", "AWait.Start holds Pair.InnerGate (Inner) and calls AWait.Wait, which waits for the hardware")]
    [InlineData("AWaitElsewhere", "AWaitElsewhere.Start holds Pair.OuterGate (Outer) and waits for the hardware")]
    [InlineData("ACallback", "ACallback.Start holds ACallback._gate (Inner) and calls ACallback.Call, which calls Func<String, Int32> of the user")]
    [InlineData("ACollection", "ACollection.Start holds ACollection._gate (Inner) and calls ICollection<String> of the user")]
    [InlineData("ACallbackInterface", "ACallbackInterface.Start holds Pair.InnerGate (Inner) and calls IQuarantined of the user")]
    [InlineData("AYield", "AYield.Start (step) holds Pair.InnerGate across a step")]
    [InlineData("AnAwait", "AnAwait.Start (step) holds Pair.InnerGate across a step")]
    public void Each_mistake_is_found_and_its_way_told(string sample, string breach) => Assert.Equal(breach, string.Join("\n", Check(sample).Breaches));

    private static void AssertNone(IEnumerable<string> lines)
    {
        string[] all = [.. lines];
        Assert.True(all.Length == 0, string.Join("\n", all));
    }

    private static LockOrderCheck Check(string sample) => LockOrderCheck.Of(
        typeof(LockOrderLaws).Assembly.Location,
        type => type.Namespace == "Properties.House.Locks.Samples" && (type.Name == sample || type.Name is "Pair" or "ThinLock" || type.Name.StartsWith("LockRank", StringComparison.Ordinal)),
        "IQuarantined");
}
