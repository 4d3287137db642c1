using IommuSim.Machinery;

namespace Properties.Machinery;

/// <summary>What readers rely on that look at what writers change.</summary>
public sealed class ChangeCounterLaws
{
    private ChangeCounter _shared;

    [Fact]
    public void Who_begins_a_change_waits_until_the_one_that_is_under_way_has_ended()
    {
        _shared.Begin();
        int during = _shared.Look();
        Assert.True(Waiting.Waits(() => _shared.Begin(), () => _shared.End()));
        Assert.True(_shared.IsUnderWay);
        Assert.NotEqual(during, _shared.Look());
        _shared.End();
        Assert.False(_shared.IsUnderWay);
    }

    [Fact]
    public void What_was_read_before_or_during_a_change_is_not_there_after_it()
    {
        var changes = default(ChangeCounter);
        for (int round = 0; round < 4; round++)
        {
            int before = changes.Look();
            Assert.False(changes.IsUnderWay);
            Assert.True(changes.IsAsSeen(before));
            if (round % 2 == 0) changes.Begin();
            else Assert.True(changes.TryBegin());

            int during = changes.Look();
            Assert.True(changes.IsUnderWay);
            Assert.False(changes.TryBegin());
            Assert.False(changes.IsAsSeen(before));
            Assert.False(changes.IsAsSeen(during));
            changes.End();
            Assert.False(changes.IsUnderWay);
            Assert.False(changes.IsAsSeen(before));
            Assert.False(changes.IsAsSeen(during));
            Assert.True(changes.IsAsSeen(changes.Look()));
        }
    }
}
