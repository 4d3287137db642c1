using IommuSim.Machinery;

namespace Properties.Machinery;

/// <summary>The stream of numbers by which the simulator chooses: what a seed means is the same in each run and on each machine.</summary>
public sealed class XorshiftLaws
{
    /// <summary>Marsaglia, Xorshift RNGs (2003), with 13, 7 and 17. Of 0, which would stay 0, the stream is that of another seed.</summary>
    [Theory]
    [InlineData(1, 0x4082_2041, 0x1000_4106_0C01_1441, 0x9B1E_842F_6E86_2629)]
    [InlineData(0, 0xDC1B_77AE_0BF3_4DAD, 0x64F0_EEB9_026E_6076, null)]
    public void The_stream_of_a_seed_is_that_of_xorshift64(ulong seed, ulong first, ulong second, ulong? third)
    {
        var random = new Xorshift(seed);
        Assert.Equal((first, second), (random.Next(), random.Next()));
        if (third is { } value) Assert.Equal(value, random.Next());
    }
}
