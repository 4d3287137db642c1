using IommuSim;
using IommuSim.Machinery;
using Platform;

namespace Properties.Machinery;

/// <summary>The places that accesses have until they end.</summary>
public sealed class InFlightAccessesLaws
{
    private const int FirstBlock = 32;

    [Fact]
    public void Devices_beside_one_another_have_places_of_their_own_which_they_get_again()
    {
        var accesses = new InFlightAccesses();
        for (uint source = 0; source < 256; source++)
        {
            int place = Begin(accesses, source);
            Assert.InRange(place, 0, FirstBlock - 1);
            accesses.End(place);
            int next = Begin(accesses, source + 1);
            accesses.End(next);
            Assert.NotEqual(place, next);
            Assert.Equal(place, Begin(accesses, source));
            accesses.End(place);
        }
    }

    [Fact]
    public void As_long_as_a_place_is_free_there_are_no_more_of_them()
    {
        var accesses = new InFlightAccesses();
        int[] places = [.. Enumerable.Range(0, FirstBlock).Select(_ => Begin(accesses, 0x20))];
        Assert.Equal(Enumerable.Range(0, FirstBlock), places.Order());
        Assert.InRange(Begin(accesses, 0x20), FirstBlock, 2 * FirstBlock - 1);
        for (int place = 0; place < 2 * FirstBlock; place++) accesses.End(place);
        Assert.False(accesses.AnyBefore(ulong.MaxValue));
    }

    private static int Begin(InFlightAccesses accesses, uint source) =>
        accesses.Begin(new StreamId(source), new(AccessPhase.Translating, DeviceAccess.Read, Translator: null, Epoch: 2));
}
